//! One pass over a loader's batches, made when asked for or ahead by a thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use esker_tensor::philox::Key;
use esker_tensor::{Error, Result};

use crate::{Batch, DataLoader};

/// The batches of one epoch. Dropping it early stops the thread that reads ahead.
pub struct Epoch {
    source: Source,
    left: usize,
}

enum Source {
    /// Batches are made when asked for.
    Here { loader: DataLoader, plan: std::vec::IntoIter<(Vec<usize>, Key)> },
    /// A thread makes them. The receiver goes first, which ends a thread that waits for room.
    Ahead { batches: Option<Receiver<Result<Batch>>>, thread: Option<JoinHandle<()>> },
}

impl Epoch {
    pub(crate) fn start(loader: &DataLoader, epoch: u64) -> Self {
        let plan = loader.plan(epoch);
        let left = plan.len();
        let here = |plan: Vec<_>| Source::Here { loader: loader.clone(), plan: plan.into_iter() };
        if loader.prefetch == 0 || left == 0 {
            return Self { source: here(plan), left };
        }
        let (send, batches) = sync_channel(loader.prefetch);
        let (worker, work) = (loader.clone(), plan.clone());
        let run = move || {
            for (indices, key) in work {
                let batch = catch_unwind(AssertUnwindSafe(|| worker.make(&indices, key)));
                let batch = batch.unwrap_or_else(|panic| Err(panicked(&*panic)));
                let last = batch.is_err();
                if send.send(batch).is_err() || last {
                    return;
                }
            }
        };
        let source = match std::thread::Builder::new().name("esker-data".to_string()).spawn(run) {
            Ok(thread) => Source::Ahead { batches: Some(batches), thread: Some(thread) },
            Err(_) => here(plan), // Where no thread is to be had, the same batches are made here.
        };
        Self { source, left }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    Error::kernel(format!("the loader's thread panicked: {text}"))
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.left == 0 {
            return None;
        }
        let batch = match &mut self.source {
            Source::Here { loader, plan } => plan.next().map(|(indices, key)| loader.make(&indices, key)),
            Source::Ahead { batches, .. } => batches.as_ref().and_then(|b| b.recv().ok()),
        };
        self.left = if matches!(batch, Some(Ok(_))) { self.left - 1 } else { 0 };
        batch
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        if let Source::Ahead { batches, thread } = &mut self.source {
            drop(batches.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join(); // Its panics were caught and handed over as errors.
            }
        }
    }
}
