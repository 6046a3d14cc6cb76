//! Which instruction set the kernels use: the best that the machine has, or the one that was asked for.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use esker_tensor::{Error, Result};

/// An instruction set that every kernel is compiled for. Results are the same bits on each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL.
    Avx512 = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// Plain Rust: correct everywhere, fast nowhere.
    Portable = 3,
}

impl Isa {
    const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Isa::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Isa::Portable => true,
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 0 while nothing is forced.
static FORCED: AtomicU8 = AtomicU8::new(0);

/// The instruction set that kernels use now.
#[inline]
pub fn isa() -> Isa {
    match FORCED.load(Ordering::Relaxed) {
        1 => Isa::Avx512,
        2 => Isa::Avx2,
        3 => Isa::Portable,
        _ => chosen(),
    }
}

fn chosen() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let best = Isa::ALL.into_iter().find(|i| i.is_available()).unwrap_or(Isa::Portable);
        let Ok(asked) = std::env::var("ESKER_ISA") else { return best };
        match Isa::ALL.into_iter().find(|i| i.name() == asked) {
            Some(isa) if isa.is_available() => isa,
            Some(isa) => {
                eprintln!("esker: ESKER_ISA={isa}, which this machine lacks; using {best}");
                best
            }
            None => {
                eprintln!("esker: ESKER_ISA={asked} is none of avx512, avx2, portable; using {best}");
                best
            }
        }
    })
}

/// Makes every kernel of the process use one instruction set (`None`: the default again), for tests that compare them.
///
/// # Errors
/// `Unavailable` when the machine lacks it.
pub fn force(isa: Option<Isa>) -> Result<()> {
    if let Some(missing) = isa.filter(|i| !i.is_available()) {
        return Err(Error::unavailable(format!("this machine has no {missing}")));
    }
    FORCED.store(isa.map_or(0, |i| i as u8), Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forcing_selects_what_the_machine_has_and_nothing_else() {
        let _settings = crate::test_settings();
        for isa in Isa::ALL {
            assert_eq!(force(Some(isa)).is_ok(), isa.is_available(), "{isa}");
            if isa.is_available() {
                assert_eq!(super::isa(), isa);
            }
        }
        force(None).unwrap();
        assert_eq!(super::isa(), chosen());
        assert!(Isa::Portable.is_available());
    }
}
