//! The real driver.

use esker_tensor::{Error, Result};

use super::{Driver, Function, Grid, Text};
use crate::products::{Operands, Product};

/// A GPU behind NVIDIA's driver.
pub(crate) struct Nvidia;

impl Nvidia {
    pub(crate) fn open(_: u32) -> Result<Self> {
        Err(Error::unavailable("no driver"))
    }
}

impl Driver for Nvidia {
    fn alloc(&self, _: usize) -> Result<usize> {
        Err(Error::unavailable("no driver"))
    }
    fn free(&self, _: usize) {}
    fn build(&self, _: &Text) -> Result<Function> {
        Err(Error::unavailable("no driver"))
    }
    fn launch(&self, _: Function, _: Grid, _: &[&[u8]]) -> Result<()> {
        Ok(())
    }
    fn product(&self, _: &Product, _: &Operands) -> Result<bool> {
        Ok(false)
    }
    fn upload(&self, _: &[u8], _: usize) -> Result<()> {
        Ok(())
    }
    fn download(&self, _: usize, _: &mut [u8]) -> Result<()> {
        Ok(())
    }
    fn fill(&self, _: usize, _: u8, _: usize) -> Result<()> {
        Ok(())
    }
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
    fn multiprocessors(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        String::new()
    }
}
