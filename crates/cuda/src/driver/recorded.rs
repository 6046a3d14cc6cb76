//! A driver that writes down what it is asked for and does none of it: what the host does can be tested with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use esker_tensor::{Error, Result};

use super::{Driver, Function, Grid, Text};
use crate::products::{Operands, Product};

/// A request, with the numbers that it was made with; some are only there to be printed.
#[allow(dead_code)]
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Bytes, and the address that was given; none when there was no memory left.
    Alloc(usize, Option<usize>),
    Free(usize),
    Build,
    Launch(Launch),
    Product(Product),
    Upload(usize, usize),
    Download(usize, usize),
    Fill(usize, u8, usize),
    Synchronize,
}

/// A kernel that was queued.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) text: Text,
    pub(crate) grid: Grid,
    pub(crate) args: Vec<Vec<u8>>,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    built: Vec<Text>,
    live: HashMap<usize, usize>,
    next: usize,
    /// The bytes that there are; any number if none.
    limit: Option<usize>,
}

/// Memory without bytes, kernels that are never run.
#[derive(Default)]
pub(crate) struct Recorded {
    state: Mutex<State>,
}

impl Recorded {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, no more memory than this.
    pub(crate) fn limit(&self, bytes: usize) {
        self.state().limit = Some(bytes);
    }

    /// All requests since the last call.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    /// The kernels queued since the last call; other requests are forgotten.
    pub(crate) fn launches(&self) -> Vec<Launch> {
        let launch = |event| match event {
            Event::Launch(launch) => Some(launch),
            _ => None,
        };
        self.take().into_iter().filter_map(launch).collect()
    }

    /// The texts of all kernels built so far.
    pub(crate) fn built(&self) -> Vec<Text> {
        self.state().built.clone()
    }

    fn record(&self, event: Event) -> Result<()> {
        self.state().events.push(event);
        Ok(())
    }
}

impl Driver for Recorded {
    fn alloc(&self, bytes: usize) -> Result<usize> {
        let mut state = self.state();
        let live: usize = state.live.values().sum();
        let given = state.limit.is_none_or(|limit| live + bytes <= limit).then(|| {
            // Far from addresses of the host, so that one that is read by mistake is noticed.
            let address = (1 << 46) + state.next;
            state.next += bytes.next_multiple_of(512);
            state.live.insert(address, bytes);
            address
        });
        state.events.push(Event::Alloc(bytes, given));
        given.ok_or_else(|| Error::out_of_memory("no memory left"))
    }

    fn free(&self, address: usize) {
        let mut state = self.state();
        assert!(state.live.remove(&address).is_some(), "{address:#x} was not allocated");
        state.events.push(Event::Free(address));
    }

    fn build(&self, text: &Text) -> Result<Function> {
        let mut state = self.state();
        state.events.push(Event::Build);
        state.built.push(text.clone());
        Ok(Function(state.built.len() - 1))
    }

    fn launch(&self, function: Function, grid: Grid, args: &[&[u8]]) -> Result<()> {
        let text = self.state().built[function.0].clone();
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        self.record(Event::Launch(Launch { text, grid, args }))
    }

    fn product(&self, product: &Product, _: &Operands) -> Result<bool> {
        self.record(Event::Product(*product)).map(|()| true)
    }

    fn upload(&self, from: &[u8], to: usize) -> Result<()> {
        self.record(Event::Upload(from.len(), to))
    }

    fn download(&self, from: usize, to: &mut [u8]) -> Result<()> {
        to.fill(0);
        self.record(Event::Download(from, to.len()))
    }

    fn fill(&self, address: usize, byte: u8, bytes: usize) -> Result<()> {
        self.record(Event::Fill(address, byte, bytes))
    }

    fn synchronize(&self) -> Result<()> {
        self.record(Event::Synchronize)
    }

    fn multiprocessors(&self) -> usize {
        132
    }

    fn describe(&self) -> String {
        "a GPU on paper".to_owned()
    }
}
