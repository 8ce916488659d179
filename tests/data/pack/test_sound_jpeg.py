import pytest

from lightning_rcnn.data.decode import UndecodableImage, decode_with_damage
from lightning_rcnn.data.pack.sound_jpeg import is_sound_jpeg
from tests.data.mutated_images import encode, mutate


@pytest.mark.parametrize("kind", ["JPEG", "JPEG-L", "JPEG-progressive"])
def test_the_quick_check_notices_what_the_decoder_for_training_notices(kind):
    data = encode(kind)
    assert is_sound_jpeg(data)
    noticed = 0
    for seed in range(300):
        mutated = mutate(data, seed)
        try:
            _, damage = decode_with_damage(mutated, apply_exif=False)
        except UndecodableImage as error:
            damage = str(error)
        assert not (damage and is_sound_jpeg(mutated)), (seed, damage)
        noticed += bool(damage)
    assert noticed > 100
