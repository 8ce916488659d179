"""A set of boxes in which exactly so many errors of each kind were put; what follows from it is worked out by hand."""

CLASS_NAMES = ["cat", "dog", "cow"]
CAT, DOG, COW = 1, 2, 3
PLACE, LOW, FAR = [100, 100, 100, 100], [100, 100, 100, 30], [500, 500, 100, 90]  # IoU 1, .3 and 0 with PLACE
NEAR = [100, 100, 100, 90]


def planted():
    """Objects and detections (label, box, score) of 31 images, one object each."""
    images = []
    images += 10 * [(CAT, [(CAT, PLACE, 0.9)])]  # right
    images += 2 * [(CAT, [(DOG, PLACE, 0.8)])]  # wrong class
    images += 3 * [(CAT, [(CAT, LOW, 0.7)])]  # wrong place
    images += 1 * [(CAT, [(DOG, LOW, 0.6)])]  # both
    images += 4 * [(DOG, [(DOG, PLACE, 0.95), (DOG, NEAR, 0.5)])]  # right, and a duplicate
    images += 5 * [(COW, [(COW, PLACE, 0.95), (COW, FAR, 0.97)])]  # right, and background
    images += 6 * [(COW, [])]  # missed
    return {number: image for number, image in enumerate(images, start=1)}


def in_coco_form(image):
    """Objects and results of one image, as the scoring has them."""
    label, detections = image
    objects = [{"category_id": label, "bbox": PLACE, "area": 100.0 * 100}]
    return objects, [{"category_id": label, "bbox": box, "score": score} for label, box, score in detections]
