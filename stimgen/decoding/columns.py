"""The columns of the tables that `stimgen decode` writes."""

from __future__ import annotations

from stimgen.column import Column

WILSON = "Wilson (1927), J. Am. Stat. Assoc. 22:209"

FILE = Column("file", "File", "The image, as a path.")
CLASS = Column("class", "Class", "Name of the class that the image belongs to.")

DECODING = (
    Column("layer", "Layer", "Layer of the network whose Gram matrices were decoded."),
    Column("classes", "Classes", "Number of classes."),
    Column("training_images", "Training images", "Images that the classifiers were trained on while the regularisation was chosen."),
    Column("validation_images", "Validation images", "Images that chose the regularisation; the final classifier was trained on them too."),
    Column("test_images", "Test images", "Images that the shares of right answers are of."),
    Column("parameters", "Parameters", "Features of an image: N(N + 1)/2 numbers of a Gram matrix of N channels."),
    Column("components", "Components", "Principal components that the features were reduced to; empty if all features were used."),
    Column("regularisation", "Regularisation", "Strength of the squared penalty that the validation chose, alpha of scikit-learn's SGDClassifier."),
    Column("validation_top1", "Top-1 accuracy, validation", "Share of right answers in the validation part with that strength; it is the best of several, and so too high."),
    Column("top1", "Top-1 accuracy", "Share of the test images whose class the classifier prefers."),
    Column("top1_low", "Top-1 accuracy, lower limit", "Lower limit of the 95 % score interval of top1.", "", WILSON),
    Column("top1_high", "Top-1 accuracy, upper limit", "Upper limit of the 95 % score interval of top1.", "", WILSON),
    Column("top5", "Top-5 accuracy", "Share of the test images whose class is among the five that the classifier prefers; empty for five classes or fewer."),
    Column("top5_low", "Top-5 accuracy, lower limit", "Lower limit of the 95 % score interval of top5; empty as top5.", "", WILSON),
    Column("top5_high", "Top-5 accuracy, upper limit", "Upper limit of the 95 % score interval of top5; empty as top5.", "", WILSON),
    Column("chance_top1", "Chance, top-1", "Largest share that one answer for all test images can reach: 1/classes if the test has as many images of each class."),
    Column("chance_top5", "Chance, top-5", "Largest share that the same five answers for all test images can reach; empty as top5."),
)  # fmt: skip

PREDICTIONS = (
    FILE,
    CLASS,
    Column("layer", "Layer", "Layer that was decoded."),
    Column("predicted", "Predicted class", "Class that the classifier prefers."),
    Column("rank", "Rank", "Place of the right class in the classifier's order of preference; 1 is right."),
)

DECODED_IMAGES = (
    FILE,
    CLASS,
    Column("group", "Group", "Images with one number are in one part: those of one group, and those with the same pixels."),
    Column("part", "Part", '"training", "validation" or "test".'),
    Column("sha256", "SHA-256", "Of the file's bytes, hexadecimal."),
)  # fmt: skip

UNUSABLE_IMAGES = (
    FILE,
    Column("error", "Error", "Why the image was left out."),
    Column("cure", "Cure", "What to do about it."),
)

DECODE_TABLES = {
    "decoding": DECODING,
    "predictions": PREDICTIONS,
    "decoded_images": DECODED_IMAGES,
    "unusable_images": UNUSABLE_IMAGES,
}
"""Name of each table, and its columns."""
