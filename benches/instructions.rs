//! Runs one piece of the hot path again and again, for a tool that counts instructions; without a name it says which
//! there are. `scripts/instructions.mjs` is that tool's hand.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for the hand of a script")]

mod work;

use std::hint::black_box;

/// So often before it is counted: first-time growth of tables is not what a call costs.
const WARM: usize = 200;
const COUNTED: usize = 1000;

fn main() {
    // cargo adds words of its own.
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    let Some(wanted) = wanted else {
        for piece in work::pieces() {
            println!("{}", piece.name);
        }
        return;
    };
    let piece = work::pieces().into_iter().find(|piece| piece.name == wanted);
    let mut piece = piece.expect("a piece of this name");
    for _ in 0..WARM {
        (piece.run)();
    }
    counted(&mut piece.run, COUNTED);
}

/// What is counted; found by this name.
#[inline(never)]
fn counted(run: &mut dyn FnMut(), times: usize) {
    for _ in 0..times {
        run();
        black_box(&run);
    }
}
