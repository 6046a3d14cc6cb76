//! NVIDIA's driver: one context, one stream.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_void};
use std::sync::OnceLock;

use cudarc::driver::sys;
use esker_tensor::{Error, Result};
use smallvec::SmallVec;

use super::blas::Blas;
use super::{Driver, Function, Grid, Text, compile, search};
use crate::products::{Operands, Product};

/// The oldest driver whose interface is used here: CUDA 12.8.
const OLDEST: i32 = 12_080;

/// A GPU behind NVIDIA's driver.
pub(crate) struct Nvidia {
    context: sys::CUcontext,
    stream: sys::CUstream,
    multiprocessors: usize,
    architecture: String,
    name: String,
    memory: usize,
    version: i32,
    blas: OnceLock<Option<Blas>>,
}

// SAFETY: contexts, streams and modules of the driver may be used by any thread that has made the context current, which
// every method does first.
unsafe impl Send for Nvidia {}
// SAFETY: as above; the driver's functions are safe to call at the same time.
unsafe impl Sync for Nvidia {}

thread_local! {
    /// The context that this thread has made current.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// An error of a call of the driver.
fn check(result: sys::CUresult, what: &str) -> Result<()> {
    if result == sys::CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let mut text = std::ptr::null();
    // SAFETY: the driver writes the address of a string that it keeps.
    let known = unsafe { sys::cuGetErrorString(result, &mut text) } == sys::CUresult::CUDA_SUCCESS && !text.is_null();
    // SAFETY: the string is the driver's and ends with a zero.
    let reason = if known { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() } else { String::new() };
    let message = format!("{what} failed: {result:?}, {reason}");
    Err(match result {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::out_of_memory(message),
        _ => Error::device(message),
    })
}

impl Nvidia {
    /// Opens the GPU with this index.
    pub(crate) fn open(index: u32) -> Result<Self> {
        let reason = |e: Error| e.prefix(&format!("cuda:{index} cannot be opened"));
        search::load(&search::DRIVER).map_err(reason)?;
        search::load(&search::NVRTC).map_err(reason)?;
        // SAFETY: the library is loaded; what is written to is valid and of the types that the driver's headers give.
        unsafe {
            let unavailable = |e: Error| reason(Error::unavailable(e.to_string()));
            check(sys::cuInit(0), "cuInit").map_err(unavailable)?;
            let mut version = 0;
            check(sys::cuDriverGetVersion(&mut version), "cuDriverGetVersion").map_err(unavailable)?;
            suits(version).map_err(unavailable)?;
            let mut count = 0;
            check(sys::cuDeviceGetCount(&mut count), "cuDeviceGetCount").map_err(unavailable)?;
            let Some(index) = i32::try_from(index).ok().filter(|i| *i < count) else {
                return Err(unavailable(Error::unavailable(format!("this machine has {count} GPUs, numbered from 0"))));
            };
            let (mut device, mut context, mut stream) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            check(sys::cuDeviceGet(&mut device, index), "cuDeviceGet").map_err(unavailable)?;
            check(sys::cuDevicePrimaryCtxRetain(&mut context, device), "cuDevicePrimaryCtxRetain")
                .map_err(unavailable)?;
            make_current(context)?;
            // A stream that does not wait for the default one: other libraries of the process may use that.
            check(sys::cuStreamCreate(&mut stream, 1), "cuStreamCreate")?;
            let mut memory = 0;
            check(sys::cuDeviceTotalMem_v2(&mut memory, device), "cuDeviceTotalMem")?;
            let mut name = [0; 256];
            check(sys::cuDeviceGetName(name.as_mut_ptr(), 256, device), "cuDeviceGetName")?;
            let name = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
            let attribute = |which| {
                let mut value = 0;
                check(sys::cuDeviceGetAttribute(&mut value, which, device), "cuDeviceGetAttribute").map(|()| value)
            };
            use sys::CUdevice_attribute::{
                CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
                CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
                CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as COUNT,
            };
            let (major, minor) = (attribute(MAJOR)?, attribute(MINOR)?);
            if major < 8 {
                return Err(unavailable(Error::unavailable(format!(
                    "{name} has compute capability {major}.{minor}; kernels need 8.0"
                ))));
            }
            let special = if major >= 9 { "a" } else { "" }; // Instructions of this very architecture.
            let multiprocessors = usize::try_from(attribute(COUNT)?).unwrap_or(1);
            let architecture = format!("sm_{major}{minor}{special}");
            let blas = OnceLock::new();
            Ok(Self { context, stream, multiprocessors, architecture, name, memory, version, blas })
        }
    }

    fn current(&self) -> Result<()> {
        make_current(self.context)
    }
}

/// Whether a driver can run what NVRTC makes.
fn suits(version: i32) -> Result<()> {
    let (compiler, _) = compile::version();
    if version < OLDEST {
        return Err(Error::unavailable(format!("the driver knows CUDA {}, 12.8 is needed", dotted(version))));
    }
    if version / 1000 < compiler {
        return Err(Error::unavailable(format!(
            "the driver knows CUDA {}, but the run-time compiler that was found makes code for CUDA {compiler}: update \
             the driver, or install nvidia-cuda-nvrtc of CUDA {}",
            dotted(version),
            version / 1000
        )));
    }
    Ok(())
}

/// 13020 as 13.2.
fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn make_current(context: sys::CUcontext) -> Result<()> {
    let address = context.addr();
    if CURRENT.get() != address {
        // SAFETY: the context was retained and is never released.
        check(unsafe { sys::cuCtxSetCurrent(context) }, "cuCtxSetCurrent")?;
        CURRENT.set(address);
    }
    Ok(())
}

impl Driver for Nvidia {
    fn alloc(&self, bytes: usize) -> Result<usize> {
        self.current()?;
        let mut address = 0;
        // SAFETY: the address is written to a place of its type.
        check(unsafe { sys::cuMemAlloc_v2(&mut address, bytes) }, "cuMemAlloc")?;
        Ok(address as usize)
    }

    fn free(&self, address: usize) {
        if self.current().is_ok() {
            // SAFETY: the block was allocated here and is given back once. The driver waits for its users.
            let _ = unsafe { sys::cuMemFree_v2(address as u64) };
        }
    }

    fn build(&self, text: &Text) -> Result<Function> {
        self.current()?;
        let code = compile::machine_code(text, &self.architecture)?;
        let entry = CString::new(text.entry).map_err(|_| Error::kernel("a kernel's name holds a zero byte"))?;
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the code is a whole image, which the driver copies; the module is never unloaded.
        unsafe {
            check(sys::cuModuleLoadData(&mut module, code.as_ptr().cast()), &text.name)?;
            check(sys::cuModuleGetFunction(&mut function, module, entry.as_ptr()), &text.name)?;
        }
        Ok(Function(function.expose_provenance()))
    }

    fn launch(&self, function: Function, grid: Grid, args: &[&[u8]]) -> Result<()> {
        self.current()?;
        let mut pointers: SmallVec<[*mut c_void; 16]> =
            args.iter().map(|arg| arg.as_ptr().cast_mut().cast::<c_void>()).collect();
        let [x, y, z] = grid.blocks;
        // SAFETY: the function came from `build`; its parameters are as many and as large as the kernel's text says, which
        // the launchers vouch for; the driver copies them before it returns.
        let queued = unsafe {
            sys::cuLaunchKernel(
                std::ptr::with_exposed_provenance_mut(function.0),
                x,
                y,
                z,
                grid.threads,
                1,
                1,
                grid.shared,
                self.stream,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check(queued, "a kernel's launch")
    }

    fn product(&self, product: &Product, operands: &Operands) -> Result<bool> {
        self.current()?;
        match self.blas.get_or_init(|| Blas::open(self).ok()) {
            Some(blas) => blas.run(product, operands, self.stream),
            None => Ok(false),
        }
    }

    fn upload(&self, from: &[u8], to: usize) -> Result<()> {
        self.current()?;
        // SAFETY: the caller owns so many bytes at `to`. Pageable memory has been read when the call returns.
        let queued = unsafe { sys::cuMemcpyHtoDAsync_v2(to as u64, from.as_ptr().cast(), from.len(), self.stream) };
        check(queued, "a copy to the device")
    }

    fn download(&self, from: usize, to: &mut [u8]) -> Result<()> {
        self.current()?;
        // SAFETY: the caller has so many bytes at both ends, and the stream is waited for before they are used.
        let queued = unsafe { sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from as u64, to.len(), self.stream) };
        check(queued, "a copy from the device")?;
        self.synchronize()
    }

    fn fill(&self, address: usize, byte: u8, bytes: usize) -> Result<()> {
        self.current()?;
        // SAFETY: the caller owns so many bytes there.
        check(unsafe { sys::cuMemsetD8Async(address as u64, byte, bytes, self.stream) }, "a fill of device memory")
    }

    fn synchronize(&self) -> Result<()> {
        self.current()?;
        // SAFETY: the stream lives as long as `self`.
        check(unsafe { sys::cuStreamSynchronize(self.stream) }, "work on the device")
    }

    fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    fn describe(&self) -> String {
        let (major, minor) = compile::version();
        let blas = match self.blas.get() {
            Some(Some(blas)) => format!(", cuBLASLt {}", blas.version()),
            Some(None) => ", no cuBLASLt".to_owned(),
            None => String::new(),
        };
        format!(
            "{} ({}, {} multiprocessors, {} MiB), driver for CUDA {}, NVRTC {major}.{minor}{blas}",
            self.name,
            self.architecture,
            self.multiprocessors,
            self.memory >> 20,
            dotted(self.version)
        )
    }
}
