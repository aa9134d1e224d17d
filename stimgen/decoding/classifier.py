"""A linear classifier on one layer's features, trained on batches of rows.

Estimators of scikit-learn are fitted by ``partial_fit``, on `ROWS` rows at a time, because the features of a
large data set do not fit into memory. Memory depends on the number of features, classes and strengths of
regularisation, and not on the number of images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from stimgen.decoding.features import Features
from stimgen.decoding.progress import Advance
from stimgen.decoding.settings import TrainingSettings

ROWS = 256
"""Rows of features in memory at once; more if there are more principal components."""

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Strengths of regularisation that the validation part chooses from (alpha of `SGDClassifier`)."""

THREADS_FROM = 100_000
"""Number of weights of a classifier (features × classes) from which threads gain more than they cost."""

Labels = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Part:
    """Images of one part: features of all images (images, features), their rows (n,) and classes (n,)."""

    features: Features
    rows: Labels
    labels: Labels

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[tuple[Features, Labels]]:
        """Yield features and classes in batches of `size` or more rows, in random order if `rng` is given."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for chosen in np.array_split(order, max(1, len(order) // size)):
            yield np.asarray(self.features[self.rows[chosen]]), self.labels[chosen]


class LayerResult(BaseModel, frozen=True):
    """Answers of a layer's classifier.

    Attributes
    ----------
    components
        Number of principal components; None if all features were used.
    regularisation
        Strength that the validation chose.
    validation_top1
        Each strength with its share of right answers in the validation part.
    predicted
        Class that the classifier prefers for each test image.
    rank
        Rank of the right class among the scores of each test image; 1 is right.
    preparation_seconds
        Time that means, variances and components of training and validation images took.
    epoch_seconds
        Time of one pass over these images with one strength.
    """

    components: int | None
    regularisation: float
    validation_top1: list[tuple[float, float]]
    predicted: list[int]
    rank: list[int]
    preparation_seconds: float
    epoch_seconds: float


def decode_layer(
    training: Part,
    validation: Part,
    test: Part,
    classes: int,
    settings: TrainingSettings,
    advance: Advance = lambda _: None,
) -> LayerResult:
    """Choose the regularisation, train on training and validation together, and test once.

    Parameters
    ----------
    training, validation, test
        The three parts. The strength is chosen from classifiers that are fitted on `training` alone. Then
        everything, including mean and variance, is fitted again on `training` and `validation`.
    classes
        Number of classes; labels are 0..classes - 1, and each part has all of them.
    settings
        Components, epochs and seed.
    advance
        Called with the number of finished epochs, `passes` in all.
    """
    prepare = fit_preparation(training, settings)
    candidates = train(prepare, training, classes, STRENGTHS, settings, advance)
    top1 = {
        strength: float(np.mean(answers(prepare, classifier, validation)[1] == 1))
        for strength, classifier in zip(STRENGTHS, candidates, strict=True)
    }
    # Of equally good classifiers the one with the strongest regularisation is the simplest.
    best = max(STRENGTHS, key=lambda strength: (top1[strength], strength))
    both = Part(
        training.features,
        np.concatenate([training.rows, validation.rows]),
        np.concatenate([training.labels, validation.labels]),
    )
    started = time.perf_counter()
    prepare = fit_preparation(both, settings)
    prepared = time.perf_counter()
    (classifier,) = train(prepare, both, classes, [best], settings, advance)
    epoch_seconds = (time.perf_counter() - prepared) / settings.epochs
    predicted, rank = answers(prepare, classifier, test)
    return LayerResult(
        components=settings.components and min(settings.components, training.features.shape[1]),
        regularisation=best,
        validation_top1=list(top1.items()),
        predicted=predicted.tolist(),
        rank=rank.tolist(),
        preparation_seconds=prepared - started,
        epoch_seconds=epoch_seconds,
    )


def passes(settings: TrainingSettings) -> int:
    """Return the number of epochs that `decode_layer` reports, counting each strength."""
    return settings.epochs * (len(STRENGTHS) + 1)


def fit_preparation(part: Part, settings: TrainingSettings) -> Any:
    """Return a pipeline that standardises features, projects them on principal components, and scales them.

    The last factor, 1 / sqrt(number of features), makes the mean squared length of the standardised vectors 1,
    so that one set of step sizes and strengths suits all layers. The output is float32, shape (rows, components
    or features).

    Parameters
    ----------
    part
        Images to fit on, at least as many as components.
    settings
        Number of components, None for no projection. At most as many as there are features are used.
    """
    from sklearn.decomposition import IncrementalPCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    size = part.features.shape[1]
    shorten = FunctionTransformer(lambda rows: np.asarray(rows / np.sqrt(size), dtype=np.float32))
    scaler = StandardScaler()
    for features, _ in part.batches(ROWS):
        scaler.partial_fit(features)
    if settings.components is None:
        return make_pipeline(scaler, shorten)
    pca = IncrementalPCA(min(settings.components, size))
    rng = np.random.default_rng([settings.seed, 0])
    for features, _ in part.batches(max(ROWS, pca.n_components), rng):
        pca.partial_fit(scaler.transform(features))
    return make_pipeline(scaler, pca, shorten)


def train(
    prepare: Any,
    part: Part,
    classes: int,
    strengths: Sequence[float],
    settings: TrainingSettings,
    advance: Advance,
) -> list[Any]:
    """Return one `SGDClassifier` per strength of regularisation, trained in the same passes over the features.

    Parameters
    ----------
    prepare
        Pipeline fitted on `part`.
    part
        Images to train on.
    classes
        Number of classes.
    strengths
        Strengths of the squared penalty.
    settings
        Number of epochs, and the seed of the order of images, which is new in each epoch.
    advance
        Called with the number of finished epochs, counting each strength.
    """
    from sklearn.linear_model import SGDClassifier

    size = settings.components or part.features.shape[1]
    threads = -1 if size * classes >= THREADS_FROM else 1  # the result is the same
    classifiers = [
        SGDClassifier(loss="log_loss", alpha=strength, random_state=settings.seed, n_jobs=threads)
        for strength in strengths
    ]
    for epoch in range(1, settings.epochs + 1):
        for features, labels in part.batches(ROWS, np.random.default_rng([settings.seed, epoch])):
            prepared = prepare.transform(features)
            for classifier in classifiers:
                classifier.partial_fit(prepared, labels, classes=np.arange(classes))
        advance(len(strengths))
    return classifiers


def answers(prepare: Any, classifier: Any, part: Part) -> tuple[Labels, Labels]:
    """Return the preferred class of each image, and the rank of the right one, both of shape (n,)."""
    batches = [
        ranked(classifier.decision_function(prepare.transform(features)), labels)
        for features, labels in part.batches(ROWS)
    ]
    predicted, rank = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return predicted, rank


def ranked(scores: NDArray[np.floating], labels: Labels) -> tuple[Labels, Labels]:
    """Return the class with the highest score, and the rank of the right class, both of shape (n,).

    Parameters
    ----------
    scores
        Shape (n, classes), or (n,) for two classes, where a score above 0 means the second. Of equal scores
        the one of the lower class ranks first.
    labels
        Number of the right class, shape (n,).
    """
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    right = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    above = (scores > right) | ((scores == right) & earlier)
    return scores.argmax(axis=1), above.sum(axis=1) + 1
