"""All methods on all pairs of a band: fill, composite, measure, and go on where it was left."""

from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from inpaint_hub.evaluation.ledger import Indexed, KeptPictures, Ledger, digest, packed, unpacked
from inpaint_hub.evaluation.metrics import l1_percent
from inpaint_hub.evaluation.pairs import EvaluationPairs, pair_digest, slug
from inpaint_hub.evaluation.report import SECONDS, summarize

SUSPICIOUS_PERCENT = 8  # a prediction whose known pixels differ so much is of another picture


@dataclass
class JudgedBand:
    """What came out for one band.

    coverage: share of hole of each pair. values: {method: {metric: [per pair]}}. results: {method:
    {metric: summary}}. notes: what should make the reader wary.
    """

    pairs: EvaluationPairs
    coverage: list
    values: dict
    results: dict
    notes: list
    kept: KeptPictures

    @property
    def band(self):
        return self.pairs.band.name

    def picture(self, method, index):
        """The composite, uint8 [s,s,3], that `method` made of pair `index`."""
        return self.kept.load(method, slug(self.pairs.band), index)


class Arena:
    """Methods, a scorer, and the folder where what they did is kept.

    What was filled before for the same pair by the same method with the same weights is not filled
    again, and what was measured with the same metrics is not measured again.
    """

    def __init__(self, methods, scorer, output, batch_size=50):
        self.methods, self.scorer, self.batch_size = methods, scorer, batch_size
        self.ledger = Ledger(output / "per_image.jsonl")
        self.kept = KeptPictures(output / "pictures")

    def judge(self, pairs):
        """JudgedBand of the pairs."""
        scores, coverage, features = {m.name: [] for m in self.methods}, [], []
        progress = tqdm(total=len(pairs) * len(self.methods), desc=pairs.band.name, unit="fill")
        for start in range(0, len(pairs), self.batch_size):
            indices = range(start, min(start + self.batch_size, len(pairs)))
            batch = [(i, *pairs[i]) for i in indices]
            coverage += [float(mask.mean()) for _, _, mask in batch]
            if self.scorer.network is not None:
                features += [self.scorer.features_of(original) for _, original, _ in batch]
            for method in self.methods:
                progress.set_postfix_str(method.name)
                scores[method.name] += self._judge_batch(method, slug(pairs.band), batch)
                progress.update(len(batch))
        progress.close()
        values = {name: _columns(records) for name, records in scores.items()}
        results = {name: summarize(columns) for name, columns in values.items()}
        for name, records in scores.items():
            results[name] |= self._set_distances(name, pairs, records, features)
        notes = [note for name, records in scores.items() for note in _notes(name, pairs, records)]
        return JudgedBand(pairs, coverage, values, results, notes, self.kept)

    def _judge_batch(self, method, band, batch):
        """Records, each with `values` and `features`, of (index, original, mask) tuples."""
        fills = self._filled(method, band, batch)
        records = []
        for (index, original, mask), (made, result, samples) in zip(batch, fills):
            key = digest(made["key"], self.scorer.identity)
            record = self.ledger.get(key)
            if record is None:
                values, features = self.scorer.score(result, original, mask)
                if samples:
                    values |= self.scorer.diversity(samples, mask)
                record = {"key": key, "method": method.name, "band": band, "index": index}
                record |= {"coverage": float(mask.mean()), "values": values}
                self.ledger.append([record | {"features": packed(features)}])
                record = self.ledger.get(key)
            records.append(record | {"made": made})
        return records

    def _filled(self, method, band, batch):
        """[(record of the fill, composite, samples)] of the batch."""
        fills, missing = {}, []
        for index, original, mask in batch:
            count = f"{self.scorer.num_samples} samples"
            key = digest(pair_digest(original, mask), method.identity(band, index), count)
            made = self.ledger.get(key)
            pictures = made and self._load(method.name, band, index, made)
            if pictures:
                fills[index] = made, *pictures
            else:
                missing.append((key, index, original, mask))
        if missing:
            fills |= self._fill(method, band, missing)
        return [fills[index] for index, _, _ in batch]

    def _load(self, name, band, index, made):
        """(composite, samples) of a kept fill, or None where a file is gone or another."""
        result = self.kept.read(made["picture"], name, band, index)
        samples = [self.kept.read(d, name, band, index, s) for s, d in enumerate(made["samples"])]
        return None if result is None or any(s is None for s in samples) else (result, samples)

    def _fill(self, method, band, missing):
        """Fill, composite and keep (key, index, original, mask) tuples."""
        keys, indices, originals, masks = zip(*missing)
        raw, seconds = method.fill(originals, masks, band, indices)
        varied = None
        if self.scorer.num_samples > 1:
            varied = method.samples(originals, masks, band, indices, self.scorer.num_samples)
        fills = {}
        for k, (key, index, original, mask) in enumerate(missing):
            hole = mask[..., None]
            result = np.where(hole, raw[k], original)
            samples = [np.where(hole, s, original) for s in varied[k]] if varied else []
            made = {"key": key, "picture": self.kept.write(result, method.name, band, index)}
            made["samples"] = [
                self.kept.write(picture, method.name, band, index, s)
                for s, picture in enumerate(samples)
            ]
            made["known_l1_percent"] = (
                0.0 if mask.all() else l1_percent(raw[k][~mask], original[~mask])
            )
            if seconds is not None:
                made["seconds"] = seconds
            self.ledger.append([made])
            fills[index] = made, result, samples
        return fills

    def _set_distances(self, name, pairs, records, original_features):
        distances = {}
        if self.scorer.network is not None:
            features = np.stack([unpacked(record["features"]) for record in records])
            distances = self.scorer.set_distances(features, np.stack(original_features))
        band, count = slug(pairs.band), len(pairs)
        results = Indexed(lambda i: self.kept.load(name, band, i), count)
        originals = Indexed(lambda i: pairs.pictures.load(i), count)
        return distances | self.scorer.inception_distances(results, originals)


def _columns(records):
    """{metric: [per picture]}, the time of filling included where there is one."""
    columns = {}
    for record in records:
        values = dict(record["values"])
        if "seconds" in record["made"]:
            values[SECONDS] = record["made"]["seconds"]
        for metric, value in values.items():
            columns.setdefault(metric, []).append(value)
    return columns


def _notes(name, pairs, records):
    known = float(np.mean([record["made"]["known_l1_percent"] for record in records]))
    if known < SUSPICIOUS_PERCENT:
        return []
    return [
        f"{pairs.band.name}: before compositing, the known pixels of {name} differ from the "
        f"originals' by {known:.1f} % of the range: made for other pairs, or mask polarity swapped?"
    ]
