//! The CPU as a [`Backend`]: one match from kernel families to their modules.

use esker_ops::{Array, Backend, Kernel, Map, Update};
use esker_tensor::{Error, Result, Storage};

use crate::{
    affine, arg_reduce, concat, conv, copy, elements, gather, map, matmul, norm, pool, random, reduce, row, scan, sort,
    update,
};

/// The kernel families on the CPU.
pub(crate) struct CpuBackend;

impl Backend for CpuBackend {
    fn alloc(&self, bytes: usize) -> Result<Storage> {
        Storage::alloc(bytes)
    }

    fn run(&self, kernel: &Kernel, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
        match (kernel, inputs, outputs) {
            (Kernel::Map(op), x, [y]) => map::run(*op, x, y),
            (Kernel::Reduce { op, dims }, [x], [y]) => reduce::run(*op, dims, x, y),
            (Kernel::ArgReduce { largest, dim }, [x], y) => arg_reduce::run(*largest, *dim, x, y),
            (Kernel::Scan { op, dim, reverse }, [x], [y]) => scan::run(*op, *dim, *reverse, x, y),
            (Kernel::MatMul, [a, b], [y]) => matmul::run(a, b, y),
            (Kernel::Affine, [x, w], [y]) => affine::run(x, w, None, y),
            (Kernel::Affine, [x, w, bias], [y]) => affine::run(x, w, Some(bias), y),
            (Kernel::Conv(pass, conv), [a, b], [y]) => conv::run(*pass, conv, a, b, y),
            (Kernel::Pool(pass, pool), x, y) => pool::run(*pass, pool, x, y),
            (Kernel::Gather { dim }, [x, index], [y]) => gather::gather(*dim, x, index, y),
            (Kernel::Scatter { dim }, [index, src], [y]) => gather::scatter(*dim, None, index, src, y),
            (Kernel::Scatter { dim }, [x, index, src], [y]) => gather::scatter(*dim, Some(x), index, src, y),
            (Kernel::GatherElements { dim }, [x, index], [y]) => elements::gather(*dim, x, index, y),
            (Kernel::ScatterElements { dim, put }, [x, index, src], [y]) => {
                elements::scatter(*dim, *put, x, index, src, y)
            }
            (Kernel::Sort { dim, descending }, [x], [values, index]) => sort::run(*dim, *descending, x, values, index),
            (Kernel::Copy, [x], [y]) => copy::run(x, y),
            (Kernel::Concat { dim }, x, [y]) => concat::run(*dim, x, y),
            (Kernel::Random(random), x, [y]) => random::run(random, x, y),
            (Kernel::Norm { pass, share, eps }, x, y) => norm::run(*pass, *share, eps.get(), x, y),
            (Kernel::Row(row), x, y) => row::run(row, x, y),
            (kernel, x, y) => {
                Err(Error::kernel(format!("{kernel:?} does not take {} inputs and {} outputs", x.len(), y.len())))
            }
        }
    }

    fn run_in_place(&self, map: Map, target: &mut Array, others: &[&Array]) -> Result<()> {
        map::run_in_place(map, target, others)
    }

    fn update(&self, update: &Update, p: &mut Array, grad: &Array, states: &mut [&mut Array]) -> Result<bool> {
        update::run(update, p, grad, states)
    }

    fn arrange(&self, kernel: &Kernel, input: usize, x: &Array) -> Result<Option<Array>> {
        match (kernel, input) {
            (Kernel::Affine, 1) => affine::arrange(x),
            _ => Ok(None),
        }
    }

    fn read(&self, from: &Storage, to: &mut [u8]) -> Result<()> {
        copy_bytes(from.bytes(), to)
    }

    fn write(&self, from: &[u8], to: &mut Storage) -> Result<()> {
        copy_bytes(from, to.make_mut()?)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(()) // Every kernel has finished when `run` returns.
    }
}

fn copy_bytes(from: &[u8], to: &mut [u8]) -> Result<()> {
    if from.len() != to.len() {
        return Err(Error::shape(format!("{} bytes were given for a storage of {}", from.len(), to.len())));
    }
    to.copy_from_slice(from);
    Ok(())
}
