//! AMX: products of bytes on the tiles of Intel's server processors; all else is AVX-512's.
//!
//! A tile is 16 rows of 64 bytes. The library of intrinsics has none for tiles that a stable compiler takes: these are
//! instructions by name (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBUSD and others).

use std::arch::asm;
use std::sync::OnceLock;

use super::Simd;
use crate::rows::{OVERHANG, ROWS_OVER};
use crate::tile::{GROUP, IntTile, LINE, finish};

/// Rows and bytes of a row of a tile; four bytes make a sum.
const ROWS: usize = 16;
const BYTES: usize = 64;
/// Columns, most rows, and groups of four along a row, of what [`int_tile`] multiplies at a time: four tiles of sums,
/// which cover the time that a product takes, two of rows and two of weights are all eight.
pub(super) const COLUMNS: usize = 2 * BYTES / GROUP;
pub(super) const MOST_ROWS: usize = 2 * ROWS;
pub(super) const GROUPS: usize = BYTES / GROUP;

const _: () = assert!(ROWS - 1 <= ROWS_OVER && BYTES <= OVERHANG, "a tile of rows reads no farther than it may");

/// Whether this processor has tiles of bytes and the system lets this process have them, which has to be asked for.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
        std::arch::x86_64::__cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8 && permitted()
    })
}

/// Asks the system for tiles: their 8 KB are then saved with the registers of threads that use them. It answers no where it
/// does not know them (Linux before 5.16) or a thread's stack of signals has no room for them.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: takes two numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The shapes of tiles, as `ldtilecfg` reads them: all eight are whole.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static WHOLE: Shapes = {
    let mut whole = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        (whole.row_bytes[tile], whole.rows[tile]) = (BYTES as u16, ROWS as u8);
        tile += 1;
    }
    whole
};

/// Gives the thread tiles.
///
/// # Safety
/// [`is_available`] must be true.
pub(super) unsafe fn open() {
    // SAFETY: reads the 64 bytes of shapes; the system lets this process have tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly, preserves_flags)) }
}

/// Takes them away, so that nobody saves them with the thread's registers.
///
/// # Safety
/// [`is_available`] must be true.
pub(super) unsafe fn close() {
    // SAFETY: only tiles change.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
}

/// Multiplies `rows` (1..=MOST_ROWS) rows by one panel.
///
/// # Safety
/// As [`crate::tile::int_tile`], between [`open`] and [`close`]. Groups are whole steps of [`GROUPS`].
#[inline(always)]
pub(super) unsafe fn int_tile<S: Simd>(rows: usize, t: &IntTile) {
    let mut sums = std::mem::MaybeUninit::<[i32; MOST_ROWS * COLUMNS]>::uninit();
    let sum = sums.as_mut_ptr().cast::<i32>();
    // SAFETY: the tile's pointers are valid; a tile of rows reads up to fifteen rows and 64 bytes over the end, which
    // `IntTile` says are there, and what comes of them is not used; the lower rows are read where there are so many;
    // `sum` has room for all four tiles of sums.
    unsafe {
        let steps = t.groups / GROUPS;
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{weights} + {panel}*1]",
            "tileloadd tmm4, [{upper} + {row}*1]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights} + {panel}*1 + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "test {more}, {more}",
            "jz 5f",
            "tileloadd tmm5, [{lower} + {row}*1]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "5:",
            "add {upper}, 64",
            "add {lower}, 64",
            "add {weights}, 2048",
            "mov {line}, {lines}",
            "test {line}, {line}",
            "jz 4f",
            "3:",
            "prefetcht1 [{next}]",
            "add {next}, 64",
            "dec {line}",
            "jnz 3b",
            "4:",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {panel}*1], tmm0",
            "tilestored [{sums} + {panel}*1 + 64], tmm1",
            "tilestored [{sums} + {panel}*1 + 2048], tmm2",
            "tilestored [{sums} + {panel}*1 + 2112], tmm3",
            sums = in(reg) sum,
            panel = in(reg) COLUMNS * GROUP,
            row = in(reg) t.row_stride,
            weights = inout(reg) t.weights => _,
            upper = inout(reg) t.rows => _,
            lower = inout(reg) t.rows.wrapping_add(ROWS * t.row_stride) => _,
            more = in(reg) usize::from(rows > ROWS),
            next = inout(reg) t.next => _,
            line = out(reg) _,
            lines = in(reg) t.next_bytes.div_ceil(steps * LINE),
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
        finish::<S>(t, rows, COLUMNS / S::LANES, sum.cast());
    }
}

/// Multiplies tiles that stay in their registers, `rounds` times four; gives the number of products.
///
/// # Safety
/// [`is_available`] must be true.
pub(super) unsafe fn stream(rounds: usize) -> usize {
    if rounds > 0 {
        // SAFETY: the tiles are opened before and closed behind; no memory is touched.
        unsafe {
            open();
            asm!(
                "2:",
                "tdpbusd tmm0, tmm4, tmm6",
                "tdpbusd tmm1, tmm4, tmm7",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm3, tmm5, tmm7",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) rounds => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, nomem),
            );
            close();
        }
    }
    rounds * 4 * ROWS * (BYTES / GROUP) * BYTES
}
