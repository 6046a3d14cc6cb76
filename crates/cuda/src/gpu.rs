//! An opened GPU: its driver, its memory, the kernels compiled so far.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use esker_kernels::{COMMON, Source};
use esker_ops::Array;
use esker_tensor::{DType, Error, Result};
use smallvec::SmallVec;

use crate::driver::{Driver, Function, Grid, Text};
use crate::fault::Fault;
use crate::memory::Memory;

/// What a kernel file is compiled with: names and what stands for them.
pub(crate) type Defines<'a> = [(&'static str, &'static str)];

/// A kernel that was asked for before, by the addresses of the texts that name it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// A file, its entry, and its defines.
    File(usize, usize, SmallVec<[usize; 8]>),
    /// A generated kernel.
    Generated(crate::map::Kind),
}

/// A hash of few words: multiply and rotate.
#[derive(Default)]
pub(crate) struct Words(u64);

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26) // Tables look at the low bits, where products of even words have zeros.
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, v: u8) {
        self.write_u64(u64::from(v));
    }
    fn write_u32(&mut self, v: u32) {
        self.write_u64(u64::from(v));
    }
    fn write_u64(&mut self, v: u64) {
        self.0 = (self.0.rotate_left(5) ^ v).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn write_usize(&mut self, v: usize) {
        self.write_u64(v as u64);
    }
}

type Functions = HashMap<Key, Function, BuildHasherDefault<Words>>;

/// An opened GPU.
pub(crate) struct Gpu {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) memory: Arc<Memory>,
    functions: RwLock<Functions>,
    fault: usize,
    launches: AtomicU64,
    waits: AtomicU64,
}

impl Gpu {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Result<Self> {
        let memory = Arc::new(Memory::new(Arc::clone(&driver)));
        let fault = driver.alloc(size_of::<Fault>())?;
        driver.fill(fault, 0, size_of::<Fault>())?;
        let functions = RwLock::default();
        Ok(Self { driver, memory, functions, fault, launches: AtomicU64::new(0), waits: AtomicU64::new(0) })
    }

    /// The kernel `entry` of a file, compiled with `defines`.
    pub(crate) fn kernel(&self, file: &'static Source, entry: &'static str, defines: &Defines<'_>) -> Result<Function> {
        let words = defines.iter().flat_map(|(name, value)| [name.as_ptr().addr(), value.as_ptr().addr()]);
        let key = Key::File(file.text.as_ptr().addr(), entry.as_ptr().addr(), words.collect());
        self.function(key, || {
            let mut source = String::with_capacity(COMMON.text.len() + file.text.len() + 256);
            source.push_str(COMMON.text);
            for (name, value) in defines {
                source.push_str(&format!("#define {name} {value}\n"));
            }
            source.push_str(&format!("#line 1 \"{}\"\n", file.name));
            source.push_str(file.text);
            let with: Vec<String> = defines.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Text { name: format!("{} {}", file.name, with.join(" ")), source, entry, fuse: true }
        })
    }

    /// An elementwise kernel, whose text `generate` writes if it is new.
    pub(crate) fn generated(&self, kind: crate::map::Kind, generate: impl FnOnce() -> Text) -> Result<Function> {
        self.function(Key::Generated(kind), generate)
    }

    fn function(&self, key: Key, text: impl FnOnce() -> Text) -> Result<Function> {
        if let Some(found) = self.functions.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*found);
        }
        // Two threads may build the same kernel at the same time; both get a working one.
        let built = self.driver.build(&text())?;
        self.functions.write().unwrap_or_else(PoisonError::into_inner).insert(key, built);
        Ok(built)
    }

    /// Queues a kernel.
    pub(crate) fn launch(&self, function: Function, grid: Grid, args: &[&[u8]]) -> Result<()> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        self.launches.fetch_add(1, Ordering::Relaxed);
        self.driver.launch(function, grid, args)
    }

    /// Blocks of `threads` for `n` independent elements, at most as many as keep the device full: kernels walk the rest.
    pub(crate) fn spread(&self, n: usize, threads: u32) -> Grid {
        let full = self.driver.multiprocessors() * 2048 / threads as usize;
        Grid::new(n.div_ceil(threads as usize).min(full.max(1) * 8), threads)
    }

    /// Where kernels report what they find wrong.
    pub(crate) fn fault(&self) -> usize {
        self.fault
    }

    /// Waits for all that is queued, and says what it found wrong.
    pub(crate) fn wait(&self) -> Result<()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let mut fault = Fault::default();
        self.driver.download(self.fault, bytemuck::bytes_of_mut(&mut fault))?;
        if fault.code == 0 {
            return Ok(());
        }
        self.driver.fill(self.fault, 0, size_of::<Fault>())?;
        Err(Error::kernel(fault.message()))
    }

    /// Memory of the device for the time of a call.
    pub(crate) fn scratch(&self, bytes: usize) -> Result<crate::memory::Block> {
        self.memory.take(bytes)
    }

    /// Kernels queued and waits for the device so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.launches.load(Ordering::Relaxed), self.waits.load(Ordering::Relaxed))
    }
}

/// The address of an array's first element.
pub(crate) fn address(x: &Array) -> usize {
    x.as_ptr().addr()
}

/// What a dtype is called in kernels.
pub(crate) fn name_of(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "bool8",
        DType::U8 => "u8",
        DType::I8 => "i8",
        DType::I16 => "i16",
        DType::I32 => "i32",
        DType::I64 => "i64",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::F32 => "f32",
        DType::F64 => "f64",
    }
}

/// The bytes of a kernel's parameters: addresses as `usize`, counts as `i64`, and plain structures.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$(bytemuck::bytes_of(&$arg)),*] };
}
pub(crate) use args;
