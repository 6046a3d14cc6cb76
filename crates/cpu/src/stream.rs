//! Copies past the caches, for targets that these could not hold, and rows asked for ahead of time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Bytes of a target from which on it is written past the caches: with its source it would displace most of what they
/// hold.
pub(crate) const LARGE: usize = 12 << 20;
/// Bytes of a row that are asked for; the processor finds the way to the others.
const FETCHED: usize = 512;
/// Bytes of a line of the caches.
pub(crate) const LINE: usize = 64;

/// Copies bytes past the caches. A [`fence`] must follow before another thread may read them.
///
/// # Safety
/// Both sides are valid for `bytes` bytes and do not overlap.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the head reaches to a cache line of the target; lines and the tail are the rest of `bytes`.
    unsafe {
        let head = to.align_offset(LINE).min(bytes);
        if head > 0 {
            std::ptr::copy_nonoverlapping(from, to, head);
        }
        let whole = bytes - (bytes - head) % LINE;
        for at in (head..whole).step_by(LINE) {
            let (from, to) = (from.add(at).cast::<__m128i>(), to.add(at).cast::<__m128i>());
            let line = [0, 1, 2, 3].map(|i| _mm_loadu_si128(from.add(i)));
            for (i, x) in line.into_iter().enumerate() {
                _mm_stream_si128(to.add(i), x);
            }
        }
        if whole < bytes {
            std::ptr::copy_nonoverlapping(from.add(whole), to.add(whole), bytes - whole);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: passed on.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, bytes);
    }
}

/// Orders what was copied past the caches before what the thread writes from here on.
#[inline]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of x86-64 itself.
    unsafe {
        _mm_sfence();
    }
}

/// Asks for a row of `bytes` bytes, which need not be there.
#[inline(always)]
pub(crate) fn fetch(row: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes.min(FETCHED)).step_by(LINE) {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(at).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn copies_every_byte_and_no_other_from_anywhere_to_anywhere() {
        let from: Vec<u8> = (0..400).map(|i| (i * 7 % 251) as u8).collect();
        for bytes in [0, 1, 15, 63, 64, 65, 200, 300] {
            for (f, t) in [(0, 0), (1, 0), (0, 1), (3, 17), (40, 63)] {
                let mut to = vec![0xffu8; 400];
                // SAFETY: both vectors reach that far.
                unsafe { super::copy(from[f..].as_ptr(), to[t..].as_mut_ptr(), bytes) };
                super::fence();
                assert!(to[t..t + bytes] == from[f..f + bytes], "{bytes} bytes from {f} to {t}");
                assert!(to[..t].iter().chain(&to[t + bytes..]).all(|&x| x == 0xff), "{bytes} bytes from {f} to {t}");
            }
        }
    }
}
