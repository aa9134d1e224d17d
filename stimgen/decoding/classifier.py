"""A linear classifier on one layer's features, trained on batches of rows because of memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from stimgen.decoding.features import Features
from stimgen.decoding.settings import Advance, TrainingSettings

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ROWS = 256
"""Rows of features in memory at once; more if there are more principal components."""
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Strengths of regularisation that the validation part chooses from (alpha of `SGDClassifier`)."""
THREADS_FROM = 100_000
"""Number of weights of a classifier (features × classes) from which threads gain more than they cost."""

Labels = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Part:
    """One part: features of all images (images, features), and rows and classes (n,) of its images."""

    features: Features
    rows: Labels
    labels: Labels

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[tuple[Features, Labels]]:
        """Yield features and classes in batches of `size` or more rows, in random order if `rng` is given."""
        order = np.arange(len(self.rows)) if rng is None else rng.permutation(len(self.rows))
        for chosen in np.array_split(order, max(1, len(order) // size)):
            yield np.asarray(self.features[self.rows[chosen]]), self.labels[chosen]


class LayerResult(BaseModel, frozen=True):
    """Answers of a layer's classifier: the preferred class of each test image, and the right one's rank.

    `key` identifies everything that they depend on. `validation_top1` has the share of right answers with
    each strength of regularisation.
    """

    key: str = ""
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

    The strength is chosen among classifiers that are fitted on `training` alone. Then everything, including
    mean and variance, is fitted again on `training` and `validation`. Each part has all classes.
    """
    candidates, _, _ = fit(training, classes, STRENGTHS, settings, advance)
    top1 = {
        strength: float(np.mean(answers(model, validation)[1] == 1))
        for strength, model in zip(STRENGTHS, candidates, strict=True)
    }
    # Of equally good classifiers the one with the strongest regularisation is the simplest.
    best = max(STRENGTHS, key=lambda strength: (top1[strength], strength))
    rows = np.concatenate([training.rows, validation.rows])
    labels = np.concatenate([training.labels, validation.labels])
    both = Part(training.features, rows, labels)
    (model,), preparation_seconds, epoch_seconds = fit(both, classes, [best], settings, advance)
    predicted, rank = answers(model, test)
    return LayerResult(
        components=settings.components and min(settings.components, training.features.shape[1]),
        regularisation=best,
        validation_top1=list(top1.items()),
        predicted=predicted.tolist(),
        rank=rank.tolist(),
        preparation_seconds=preparation_seconds,
        epoch_seconds=epoch_seconds,
    )


def fit(
    part: Part, classes: int, strengths: Sequence[float], settings: TrainingSettings, advance: Advance
) -> tuple[list[Pipeline], float, float]:
    """Fit one classifier per strength of regularisation, all in the same passes over the features.

    Features are standardised and, if asked for, projected on their principal components. Division by the
    square root of their number makes the mean squared length of the standardised vectors 1, so that one set
    of step sizes and strengths suits all layers. The order of images is new in each epoch.

    Returns the models, the seconds that mean, variance and components took, and those of one epoch.
    """
    from sklearn.decomposition import IncrementalPCA
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    started = time.perf_counter()
    size = part.features.shape[1]
    scaler = StandardScaler()
    for features, _ in part.batches(ROWS):
        scaler.partial_fit(features)
    steps = [scaler]
    if settings.components is not None:
        pca = IncrementalPCA(min(settings.components, size))
        rng = np.random.default_rng([settings.seed, 0])
        for features, _ in part.batches(max(ROWS, pca.n_components), rng):
            pca.partial_fit(scaler.transform(features))
        steps.append(pca)
    steps.append(FunctionTransformer(lambda rows: np.asarray(rows / np.sqrt(size), dtype=np.float32)))
    prepare = make_pipeline(*steps)
    prepared = time.perf_counter()
    weights = classes * (settings.components or size)
    threads = -1 if weights >= THREADS_FROM else 1  # the result is the same
    classifiers = [
        SGDClassifier(loss="log_loss", alpha=strength, random_state=settings.seed, n_jobs=threads)
        for strength in strengths
    ]
    for epoch in range(1, settings.epochs + 1):
        for features, labels in part.batches(ROWS, np.random.default_rng([settings.seed, epoch])):
            rows = prepare.transform(features)
            for classifier in classifiers:
                classifier.partial_fit(rows, labels, classes=np.arange(classes))
        advance(len(strengths))
    models = [make_pipeline(*steps, classifier) for classifier in classifiers]
    return models, prepared - started, (time.perf_counter() - prepared) / settings.epochs


def answers(model: Pipeline, part: Part) -> tuple[Labels, Labels]:
    """Return the preferred class of each image, and the rank of the right one, both of shape (n,)."""
    batches = [ranked(model.decision_function(rows), labels) for rows, labels in part.batches(ROWS)]
    predicted, rank = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return predicted, rank


def ranked(scores: NDArray[np.floating], labels: Labels) -> tuple[Labels, Labels]:
    """Return the class with the highest score, and the rank of the right class, both of shape (n,).

    Scores have shape (n, classes), or (n,) for two classes, where a score above 0 means the second. Of equal
    scores that of the lower class ranks first.
    """
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    right = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    above = (scores > right) | ((scores == right) & earlier)
    return scores.argmax(axis=1), above.sum(axis=1) + 1
