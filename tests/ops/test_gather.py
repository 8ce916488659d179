import torch

from lightning_rcnn.ops.gather import gather_boxes


def test_each_image_gives_the_boxes_that_its_indices_name():
    boxes = torch.arange(24.0).view(2, 3, 4)
    indices = torch.tensor([[2, 0, 0, 1], [1, 1, 2, 0]])
    expected = [[boxes[image, index].tolist() for index in indices[image]] for image in range(2)]
    assert gather_boxes(boxes, indices).tolist() == expected
    assert gather_boxes(boxes, indices[:, :0]).shape == (2, 0, 4)
