"""Datasets and loaders in plain Python; the order of samples follows from seed and epoch alone."""

import bisect
import concurrent.futures
import itertools
import math

from ... import _esker
from ..._esker import Tensor

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "random_split",
]


class Dataset:
    """Samples by index; subclasses define ``__getitem__`` and ``__len__``."""

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__; define it")

    def __add__(self, other):
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Samples one after the other; subclasses define ``__iter__``."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} has no __iter__; define it")


class TensorDataset(Dataset):
    """The rows of tensors of one length."""

    def __init__(self, *tensors):
        sizes = [len(t) for t in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(f"TensorDataset: the tensors have {sizes} rows; they must have as many")
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(t[index] for t in self.tensors)

    def __len__(self):
        return len(self.tensors[0])


class Subset(Dataset):
    """Some samples of a dataset."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index):
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self):
        return len(self.indices)


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets):
        self.datasets = list(datasets)
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index):
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self):
        return self.cumulative_sizes[-1] if self.cumulative_sizes else 0


def random_split(dataset, lengths, generator=None):
    """Splits a dataset at random into parts of these lengths, or shares."""
    lengths = list(lengths)
    n = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 + 1e-9 and all(0 <= share <= 1 for share in lengths):
        sizes = [math.floor(n * share) for share in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
        lengths = sizes
    if sum(lengths) != n:
        raise ValueError(f"random_split: the lengths {lengths} make {sum(lengths)}, the dataset has {n}")
    order = _permutation(n, generator)
    ends = list(itertools.accumulate(lengths))
    return [Subset(dataset, order[end - length : end]) for end, length in zip(ends, lengths)]


def _permutation(n, generator=None):
    return (_esker.randperm(n) if generator is None else generator.permutation(n)).tolist()


class Sampler:
    """An order of indices; subclasses define ``__iter__`` and ``__len__``."""

    def __init__(self, data_source=None):
        self.data_source = data_source

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} has no __iter__; define it")


class SequentialSampler(Sampler):
    """One after the other."""

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """At random, each once; or, with replacement, ``num_samples`` times any."""

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        super().__init__(data_source)
        self.replacement, self.generator = replacement, generator
        self.num_samples = len(data_source) if num_samples is None else num_samples

    def __iter__(self):
        n = len(self.data_source)
        if self.replacement:
            return iter(_esker.randint(0, n, (self.num_samples,)).tolist())
        rounds = range(-(-self.num_samples // n) if n else 0)
        order = itertools.chain.from_iterable(_permutation(n, self.generator) for _ in rounds)
        return itertools.islice(order, self.num_samples)

    def __len__(self):
        return self.num_samples


class WeightedRandomSampler(Sampler):
    """At random, each as likely as its weight says."""

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        super().__init__()
        self.weights = _esker.tensor(list(weights), dtype=_esker.float64)
        self.num_samples, self.replacement = num_samples, replacement

    def __iter__(self):
        return iter(_esker.multinomial(self.weights, self.num_samples, self.replacement).tolist())

    def __len__(self):
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of ``batch_size`` indices of another sampler."""

    def __init__(self, sampler, batch_size, drop_last):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self):
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def default_collate(batch):
    """Samples as one batch: tensors stacked, numbers as a tensor, tuples and dicts item by item, texts as a list."""
    first = batch[0]
    if isinstance(first, Tensor):
        return _esker.stack(list(batch))
    if hasattr(first, "__array_interface__"):
        return _esker.stack([_esker.tensor(x) for x in batch])
    if isinstance(first, (bool, int)):
        return _esker.tensor(list(batch))
    if isinstance(first, float):
        return _esker.tensor(list(batch), dtype=_esker.float64)
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, dict):
        return {key: default_collate([x[key] for x in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(list(items)) for items in zip(*batch, strict=True)))
    if isinstance(first, (tuple, list)):
        return [default_collate(list(items)) for items in zip(*batch, strict=True)]
    raise TypeError(f"default_collate: no batch can be made of {type(first).__name__}; give a collate_fn")


class DataLoader:
    """Batches of a dataset.

    With ``num_workers`` above 0, threads load batches ahead, in the same order. Samples are drawn from this thread's
    random generator, or from ``generator``.
    """

    def __init__(
        self,
        dataset,
        batch_size=1,
        shuffle=None,
        sampler=None,
        batch_sampler=None,
        num_workers=0,
        collate_fn=None,
        pin_memory=False,
        drop_last=False,
        timeout=0,
        worker_init_fn=None,
        generator=None,
        *,
        prefetch_factor=2,
        persistent_workers=False,
        **ignored,
    ):
        iterable = isinstance(dataset, IterableDataset)
        if (sampler is not None or iterable) and shuffle:
            raise ValueError("DataLoader: shuffle is for datasets without a sampler and with an index")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("DataLoader: a batch_sampler stands for batch_size, shuffle, sampler and drop_last")
        if num_workers < 0:
            raise ValueError(f"num_workers must be 0 or more, got {num_workers}")
        self.dataset, self.num_workers, self.generator = dataset, num_workers, generator
        self.batch_size, self.drop_last, self.prefetch_factor = batch_size, drop_last, prefetch_factor or 2
        if sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None and not iterable:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        one = (lambda x: x) if batch_size is None and batch_sampler is None else default_collate
        self.collate_fn = collate_fn or one

    def _load(self, indices):
        if isinstance(indices, list):
            return self.collate_fn([self.dataset[i] for i in indices])
        return self.collate_fn(self.dataset[indices])

    def __iter__(self):
        if isinstance(self.dataset, IterableDataset):
            return self._iterate()
        places = self.sampler if self.batch_sampler is None else self.batch_sampler
        return map(self._load, places) if self.num_workers == 0 else self._ahead(iter(places))

    def _iterate(self):
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def _ahead(self, places):
        with concurrent.futures.ThreadPoolExecutor(self.num_workers, "esker-loader") as pool:
            waiting = [pool.submit(self._load, p) for p in itertools.islice(places, self.num_workers * self.prefetch_factor)]
            try:
                while waiting:
                    batch = waiting.pop(0).result()
                    waiting += [pool.submit(self._load, p) for p in itertools.islice(places, 1)]
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def __len__(self):
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)
            return n if self.batch_size is None else n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler)
