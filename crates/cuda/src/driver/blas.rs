//! Matrix products by cuBLASLt, with a plan for each kind of product: found once, timed among the library's proposals where
//! the product is large, and kept on disk, so that the next run computes with the same algorithm (and gets the same bits).

use std::collections::HashMap;
use std::ffi::c_void;
use std::hash::BuildHasherDefault;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::sys as lt;
use cudarc::driver::sys;
use esker_tensor::{DType, Error, Result};

use super::{Driver, Nvidia, compile, search};
use crate::gpu::Words;
use crate::products::{Operands, Product, Side};

/// Scratch memory that the library may use: what NVIDIA advises for Hopper.
const WORKSPACE: usize = 32 << 20;
/// Proposals that are timed.
const PROPOSALS: usize = 8;
/// Products of fewer operations take the library's first proposal.
const WORTH_TIMING: usize = 1 << 28;

/// What a product runs with.
struct Plan {
    description: Description,
    /// Of the right and the left factor, and of the result: the library thinks in columns.
    layouts: [Matrix; 3],
    algorithm: lt::cublasLtMatmulAlgo_t,
}

// SAFETY: descriptors are plain data of the library, which are not changed once a plan is made.
unsafe impl Send for Plan {}
// SAFETY: as above.
unsafe impl Sync for Plan {}

type Plans = HashMap<Product, Option<Arc<Plan>>, BuildHasherDefault<Words>>;

/// The library, opened for one GPU.
pub(super) struct Blas {
    handle: lt::cublasLtHandle_t,
    workspace: usize,
    plans: Mutex<Plans>,
    /// Held while a product is queued: its kernels share the workspace, so those of another must not come between them.
    queue: Mutex<()>,
    /// Where choices are kept, and those that are known.
    file: Option<PathBuf>,
    choices: Mutex<HashMap<String, [u64; 8]>>,
}

// SAFETY: the library's handle may be used by several threads at the same time.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

fn check(status: lt::cublasStatus_t, what: &str) -> Result<()> {
    if status == lt::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
        return Ok(());
    }
    Err(Error::device(format!("cuBLASLt: {what} failed with {status:?}")))
}

/// A descriptor of a product.
struct Description(lt::cublasLtMatmulDesc_t);

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { lt::cublasLtMatmulDescDestroy(self.0) };
    }
}

impl Description {
    fn set<T>(&self, which: lt::cublasLtMatmulDescAttributes_t, value: &T) -> Result<()> {
        let at: *const T = value;
        // SAFETY: the attribute is of this type, and the value is read during the call.
        check(unsafe { lt::cublasLtMatmulDescSetAttribute(self.0, which, at.cast(), size_of::<T>()) }, "an attribute")
    }
}

/// A descriptor of a matrix.
struct Matrix(lt::cublasLtMatrixLayout_t);

impl Drop for Matrix {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { lt::cublasLtMatrixLayoutDestroy(self.0) };
    }
}

impl Matrix {
    /// `rows` x `columns` in columns `step` apart, `batch` of them.
    fn new(
        kind: lt::cudaDataType,
        rows: usize,
        columns: usize,
        step: usize,
        batch: usize,
        apart: usize,
    ) -> Result<Self> {
        use lt::cublasLtMatrixLayoutAttribute_t::{
            CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT as COUNT, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET as OFFSET,
        };
        let mut layout = std::ptr::null_mut();
        let (count, apart) = (batch as i32, apart as i64);
        // SAFETY: the attributes are of these types, and the values are read during the calls.
        unsafe {
            let made = lt::cublasLtMatrixLayoutCreate(&mut layout, kind, rows as u64, columns as u64, step as i64);
            check(made, "a layout")?;
            let matrix = Self(layout);
            if batch > 1 {
                let count: *const i32 = &count;
                let apart: *const i64 = &apart;
                check(lt::cublasLtMatrixLayoutSetAttribute(layout, COUNT, count.cast(), 4), "a batch")?;
                check(lt::cublasLtMatrixLayoutSetAttribute(layout, OFFSET, apart.cast(), 8), "a batch")?;
            }
            Ok(matrix)
        }
    }
}

/// What elements are, what sums are made in, and what alpha and beta are.
fn types(dtype: DType) -> Option<(lt::cudaDataType, lt::cublasComputeType_t, lt::cudaDataType)> {
    use lt::cublasComputeType_t::{CUBLAS_COMPUTE_32F as SINGLE, CUBLAS_COMPUTE_64F as DOUBLE};
    use lt::cudaDataType_t::{CUDA_R_16BF, CUDA_R_16F, CUDA_R_32F, CUDA_R_64F};
    match dtype {
        DType::F16 => Some((CUDA_R_16F, SINGLE, CUDA_R_32F)),
        DType::BF16 => Some((CUDA_R_16BF, SINGLE, CUDA_R_32F)),
        DType::F32 => Some((CUDA_R_32F, SINGLE, CUDA_R_32F)),
        DType::F64 => Some((CUDA_R_64F, DOUBLE, CUDA_R_64F)),
        _ => None,
    }
}

impl Blas {
    pub(super) fn open(driver: &Nvidia) -> Result<Self> {
        search::load(&search::CUBLASLT)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the library is loaded, and the handle is written to a place of its type.
        let version = unsafe {
            check(lt::cublasLtCreate(&mut handle), "opening")?;
            lt::cublasLtGetVersion()
        };
        let name = format!("{:016x}-{version}.plans", compile::hash(&driver.describe(), 0));
        let file = compile::cache_folder().map(|folder| folder.join(name));
        let known = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let choices = known.lines().filter_map(read_choice).collect();
        let workspace = driver.alloc(WORKSPACE)?;
        Ok(Self {
            handle,
            workspace,
            plans: Mutex::default(),
            queue: Mutex::default(),
            file,
            choices: Mutex::new(choices),
        })
    }

    pub(super) fn version(&self) -> usize {
        // SAFETY: the library is loaded.
        unsafe { lt::cublasLtGetVersion() }
    }

    /// Queues a product, if the library knows its kind.
    pub(super) fn run(&self, product: &Product, at: &Operands, stream: sys::CUstream) -> Result<bool> {
        let known = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(product).cloned();
        let plan = match known {
            Some(plan) => plan,
            None => {
                let plan = self.plan(product, at, stream)?.map(Arc::new);
                self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert(*product, plan.clone());
                plan
            }
        };
        let Some(plan) = plan else { return Ok(false) };
        let _alone = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if product.bias {
            plan.description.set(BIAS_POINTER, &at.bias)?; // Part of the descriptor, which callers share.
        }
        self.queue(product, &plan, at, stream)?;
        Ok(true)
    }

    fn queue(&self, product: &Product, plan: &Plan, at: &Operands, stream: sys::CUstream) -> Result<()> {
        let (ones, zeros) = ([1f32, 0.0], [1f64, 0.0]);
        let numbers: [*const c_void; 2] = match product.dtype {
            DType::F64 => [(&raw const zeros[0]).cast(), (&raw const zeros[1]).cast()],
            _ => [(&raw const ones[0]).cast(), (&raw const ones[1]).cast()],
        };
        let address = |a: usize| std::ptr::with_exposed_provenance_mut::<c_void>(a);
        let [right, left, result] = &plan.layouts;
        // SAFETY: the operands are as large as the layouts say; alpha and beta are of the scale type.
        let queued = unsafe {
            lt::cublasLtMatmul(
                self.handle,
                plan.description.0,
                numbers[0],
                address(at.b),
                right.0,
                address(at.a),
                left.0,
                numbers[1],
                address(at.y),
                result.0,
                address(at.y),
                result.0,
                &plan.algorithm,
                address(self.workspace),
                WORKSPACE,
                stream.cast(),
            )
        };
        check(queued, "a product")
    }

    fn plan(&self, product: &Product, at: &Operands, stream: sys::CUstream) -> Result<Option<Plan>> {
        let Some((elements, sums, scale)) = types(product.dtype) else { return Ok(None) };
        if product.bias && product.dtype == DType::F64 {
            return Ok(None); // The library has no such epilogue.
        }
        let mut description = std::ptr::null_mut();
        // SAFETY: the descriptor is written to a place of its type.
        check(unsafe { lt::cublasLtMatmulDescCreate(&mut description, sums, scale) }, "a description")?;
        let description = Description(description);
        // Row-major y = a b is, in columns, y' = b' a'.
        let turn = |side: &Side| if side.turned { TURNED } else { STRAIGHT };
        description.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, &turn(&product.b))?;
        description.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB, &turn(&product.a))?;
        if product.bias {
            let epilogue = lt::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
            description.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            description.set(BIAS_POINTER, &at.bias)?;
        }
        let matrix = |side: &Side, rows: usize, columns: usize| {
            let (rows, columns) = if side.turned { (columns, rows) } else { (rows, columns) };
            Matrix::new(elements, rows, columns, side.step, product.batch, side.batch)
        };
        let (m, n, k) = (product.m, product.n, product.k);
        let layouts = [
            matrix(&product.b, n, k)?,
            matrix(&product.a, k, m)?,
            Matrix::new(elements, n, m, n, product.batch, m * n)?,
        ];
        let mut plan = Plan { description, layouts, algorithm: lt::cublasLtMatmulAlgo_t { data: [0; 8] } };
        let key = format!("{product:?}");
        let kept = self.choices.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(data) = kept {
            plan.algorithm.data = data;
            return Ok(Some(plan));
        }
        let proposals = self.proposals(&plan, product.alignment)?;
        let Some(first) = proposals.first() else { return Ok(None) };
        plan.algorithm = *first;
        if product.batch * m * n * k >= WORTH_TIMING && proposals.len() > 1 {
            let _alone = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            plan.algorithm = self.fastest(product, &mut plan, &proposals, at, stream)?;
        }
        self.keep_choice(key, plan.algorithm.data);
        Ok(Some(plan))
    }

    /// The library's proposals, the most promising first.
    fn proposals(&self, plan: &Plan, alignment: u32) -> Result<Vec<lt::cublasLtMatmulAlgo_t>> {
        let mut preference = std::ptr::null_mut();
        let workspace = WORKSPACE;
        let at: *const usize = &workspace;
        let [right, left, result] = &plan.layouts;
        let mut found = 0;
        // SAFETY: `proposals` has room for as many results as are asked for; descriptors live.
        unsafe {
            let mut proposals: [lt::cublasLtMatmulHeuristicResult_t; PROPOSALS] = std::mem::zeroed();
            check(lt::cublasLtMatmulPreferenceCreate(&mut preference), "a preference")?;
            let limit = lt::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            let mut set = lt::cublasLtMatmulPreferenceSetAttribute(preference, limit, at.cast(), size_of::<usize>());
            let alignment: *const u32 = &alignment;
            for which in ALIGNMENTS {
                let told = lt::cublasLtMatmulPreferenceSetAttribute(preference, which, alignment.cast(), 4);
                set = if told == lt::cublasStatus_t::CUBLAS_STATUS_SUCCESS { set } else { told };
            }
            let asked = lt::cublasLtMatmulAlgoGetHeuristic(
                self.handle,
                plan.description.0,
                right.0,
                left.0,
                result.0,
                result.0,
                preference,
                PROPOSALS as i32,
                proposals.as_mut_ptr(),
                &mut found,
            );
            let _ = lt::cublasLtMatmulPreferenceDestroy(preference);
            check(set, "a preference")?;
            if asked != lt::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
                return Ok(Vec::new()); // It knows no way.
            }
            let found = usize::try_from(found).unwrap_or(0).min(PROPOSALS);
            let works = |p: &&lt::cublasLtMatmulHeuristicResult_t| p.state == lt::cublasStatus_t::CUBLAS_STATUS_SUCCESS;
            Ok(proposals[..found].iter().filter(works).map(|p| p.algo).collect())
        }
    }

    /// The fastest of some algorithms on the operands themselves, whose result is the same each time.
    fn fastest(
        &self,
        product: &Product,
        plan: &mut Plan,
        proposals: &[lt::cublasLtMatmulAlgo_t],
        at: &Operands,
        stream: sys::CUstream,
    ) -> Result<lt::cublasLtMatmulAlgo_t> {
        let clock = Clock::new()?;
        let mut best = (f32::INFINITY, plan.algorithm);
        for proposal in proposals {
            plan.algorithm = *proposal;
            if self.queue(product, plan, at, stream).is_err() {
                continue;
            }
            let mut least = f32::INFINITY;
            for _ in 0..3 {
                clock.start(stream)?;
                for _ in 0..3 {
                    self.queue(product, plan, at, stream)?;
                }
                least = least.min(clock.stop(stream)?);
            }
            if least < best.0 {
                best = (least, *proposal);
            }
        }
        Ok(best.1)
    }

    fn keep_choice(&self, key: String, data: [u64; 8]) {
        let mut choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        choices.insert(key, data);
        if let Some(file) = &self.file {
            let mut lines: Vec<String> = choices.iter().map(write_choice).collect();
            lines.sort();
            compile::keep(file, lines.join("\n").as_bytes());
        }
    }
}

use lt::cublasLtMatmulPreferenceAttributes_t::{
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES as OF_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES as OF_B,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES as OF_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES as OF_D,
};

/// What addresses are multiples of, operand by operand.
const ALIGNMENTS: [lt::cublasLtMatmulPreferenceAttributes_t; 4] = [OF_A, OF_B, OF_C, OF_D];

const BIAS_POINTER: lt::cublasLtMatmulDescAttributes_t =
    lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
/// `CUBLAS_OP_N` and `CUBLAS_OP_T`, which are an `int` for the library.
const STRAIGHT: i32 = 0;
const TURNED: i32 = 1;

fn write_choice((key, data): (&String, &[u64; 8])) -> String {
    let words: Vec<String> = data.iter().map(|word| format!("{word:x}")).collect();
    format!("{} | {key}", words.join(" "))
}

fn read_choice(line: &str) -> Option<(String, [u64; 8])> {
    let (words, key) = line.split_once(" | ")?;
    let words: Vec<u64> = words.split(' ').map(|w| u64::from_str_radix(w, 16).ok()).collect::<Option<_>>()?;
    Some((key.to_owned(), words.try_into().ok()?))
}

/// Two events between which the device's time is taken.
struct Clock {
    events: [sys::CUevent; 2],
}

impl Clock {
    fn new() -> Result<Self> {
        let mut events = [std::ptr::null_mut(); 2];
        for event in &mut events {
            // SAFETY: the event is written to a place of its type.
            let made = unsafe { sys::cuEventCreate(event, 0) };
            if made != sys::CUresult::CUDA_SUCCESS {
                return Err(Error::device(format!("cuEventCreate failed: {made:?}")));
            }
        }
        Ok(Self { events })
    }

    fn start(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: event and stream live.
        let recorded = unsafe { sys::cuEventRecord(self.events[0], stream) };
        if recorded == sys::CUresult::CUDA_SUCCESS {
            return Ok(());
        }
        Err(Error::device(format!("cuEventRecord failed: {recorded:?}")))
    }

    /// Milliseconds since the start.
    fn stop(&self, stream: sys::CUstream) -> Result<f32> {
        let mut ms = 0.0;
        // SAFETY: events and stream live; the time is written to a place of its type.
        let timed = unsafe {
            sys::cuEventRecord(self.events[1], stream)
                .result()
                .and_then(|()| sys::cuEventSynchronize(self.events[1]).result())
                .and_then(|()| sys::cuEventElapsedTime_v2(&mut ms, self.events[0], self.events[1]).result())
        };
        timed.map(|()| ms).map_err(|e| Error::device(format!("timing failed: {e:?}")))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        for event in self.events {
            // SAFETY: created once, destroyed once.
            let _ = unsafe { sys::cuEventDestroy_v2(event) };
        }
    }
}
