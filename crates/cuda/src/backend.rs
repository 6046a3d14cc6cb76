//! A GPU as a [`Backend`]: one match from kernel families to their modules.

use std::sync::Arc;

use esker_ops::{Array, Backend, Kernel, Map, Update};
use esker_tensor::{Error, Result, Storage};

use crate::gpu::Gpu;
use crate::{
    arg_reduce, concat, conv, copy, elements, gather, map, matmul, norm, pool, random, reduce, row, scan, sort, update,
};

/// The kernel families on a GPU.
pub(crate) struct Cuda {
    pub(crate) gpu: Arc<Gpu>,
}

impl Backend for Cuda {
    fn alloc(&self, bytes: usize) -> Result<Storage> {
        let block = self.gpu.memory.take(bytes)?;
        Ok(Storage::on_device(block.address, bytes, Box::new(block)))
    }

    fn run(&self, kernel: &Kernel, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
        let gpu = &*self.gpu;
        match (kernel, inputs, outputs) {
            (Kernel::Map(op), x, [y]) => map::run(gpu, *op, x, y),
            (Kernel::Reduce { op, dims }, [x], [y]) => reduce::run(gpu, *op, dims, x, y),
            (Kernel::ArgReduce { largest, dim }, [x], y) => arg_reduce::run(gpu, *largest, *dim, x, y),
            (Kernel::Scan { op, dim, reverse }, [x], [y]) => scan::run(gpu, *op, *dim, *reverse, x, y),
            (Kernel::MatMul, [a, b], [y]) => matmul::run(gpu, a, b, y),
            (Kernel::Affine, [x, w], [y]) => matmul::affine(gpu, x, w, None, y),
            (Kernel::Affine, [x, w, bias], [y]) => matmul::affine(gpu, x, w, Some(bias), y),
            (Kernel::Conv(pass, conv), [a, b], [y]) => conv::run(gpu, *pass, conv, a, b, y),
            (Kernel::Pool(pass, pool), x, y) => pool::run(gpu, *pass, pool, x, y),
            (Kernel::Gather { dim }, [x, index], [y]) => gather::gather(gpu, *dim, x, index, y),
            (Kernel::Scatter { dim }, [index, src], [y]) => gather::scatter(gpu, *dim, None, index, src, y),
            (Kernel::Scatter { dim }, [x, index, src], [y]) => gather::scatter(gpu, *dim, Some(x), index, src, y),
            (Kernel::GatherElements { dim }, [x, index], [y]) => elements::gather(gpu, *dim, x, index, y),
            (Kernel::ScatterElements { dim, put }, [x, index, src], [y]) => {
                elements::scatter(gpu, *dim, *put, x, index, src, y)
            }
            (Kernel::Sort { dim, descending }, [x], [values, index]) => {
                sort::run(gpu, *dim, *descending, x, values, index)
            }
            (Kernel::Copy, [x], [y]) => copy::run(gpu, x, y),
            (Kernel::Concat { dim }, x, [y]) => concat::run(gpu, *dim, x, y),
            (Kernel::Random(random), x, [y]) => random::run(gpu, random, x, y),
            (Kernel::Norm { pass, share, eps }, x, y) => norm::run(gpu, *pass, *share, eps.get(), x, y),
            (Kernel::Row(row), x, y) => row::run(gpu, row, x, y),
            (kernel, x, y) => {
                Err(Error::kernel(format!("{kernel:?} does not take {} inputs and {} outputs", x.len(), y.len())))
            }
        }
    }

    fn run_in_place(&self, map: Map, target: &mut Array, others: &[&Array]) -> Result<()> {
        map::run_in_place(&self.gpu, map, target, others)
    }

    fn update(&self, update: &Update, p: &mut Array, grad: &Array, states: &mut [&mut Array]) -> Result<bool> {
        update::run(&self.gpu, update, p, grad, states)
    }

    fn read(&self, from: &Storage, to: &mut [u8]) -> Result<()> {
        same_length(from.len(), to.len())?;
        self.gpu.wait()?;
        self.gpu.driver.download(from.as_ptr().addr(), to)
    }

    fn write(&self, from: &[u8], to: &mut Storage) -> Result<()> {
        same_length(to.len(), from.len())?;
        self.gpu.driver.upload(from, to.as_ptr().addr())
    }

    fn synchronize(&self) -> Result<()> {
        self.gpu.wait()
    }
}

fn same_length(storage: usize, host: usize) -> Result<()> {
    if storage == host {
        return Ok(());
    }
    Err(Error::shape(format!("{host} bytes were given for a storage of {storage}")))
}
