// SPDX-License-Identifier: Apache-2.0
//! See README.md. The adapter: what is drawn from `rand::rng()` comes from `snapsafe::Rng`, and a generator of the program's own is
//! `snapsafe::Reseeding`.
mod aws;

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rand::rngs::{OsRng, StdRng};
use rand::{RngCore, SeedableRng, TryRngCore};
use snapsafe::{Reseeding, Rng};

const WARM: usize = 20;
const DRAWS: usize = 32;
const LEN: usize = 16;

type Source = (&'static str, Box<dyn FnMut(&mut [u8; LEN])>);

fn sources(mut aws: aws::Process, adapter: bool) -> Vec<Source> {
    let mut own = StdRng::from_os_rng();
    let mut fresh = Reseeding::<StdRng>::new().expect("random bytes");

    vec![
        ("OsRng", Box::new(|value| OsRng.try_fill_bytes(value).unwrap())),
        ("aws-lc-rs", Box::new(move |value| aws.fill(value))),
        match adapter {
            false => ("ThreadRng", Box::new(|value| rand::rng().fill_bytes(value))),
            true => ("ThreadRng", Box::new(|value| Rng.try_fill_bytes(value).unwrap())),
        },
        match adapter {
            false => ("StdRng", Box::new(move |value| own.fill_bytes(value))),
            true => ("StdRng", Box::new(move |value| fresh.fill_bytes(value))),
        },
    ]
}

fn generation(counter: &File) -> u64 {
    let mut word = [0; 8];

    counter.read_exact_at(&mut word, 0).expect("the counter can be read");
    u64::from_ne_bytes(word)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();

    if arguments[1] == aws::ARGUMENT {
        return aws::serve().expect("pipes");
    }
    let counter = File::open(&arguments[1]).expect("the counter can be opened");
    let aws = aws::Process::start(&arguments[0], counter.try_clone().expect("another descriptor"));
    let mut sources = sources(aws, arguments.len() > 2);
    let mut draw = |text: &mut String| {
        for (name, source) in &mut sources {
            let mut value = [0; LEN];

            source(&mut value);
            writeln!(text, "value {} {:032x}", name, u128::from_be_bytes(value)).unwrap();
        }
    };
    let before = generation(&counter);

    for _ in 0..WARM {
        draw(&mut String::new());
    }
    println!("READY");
    while generation(&counter) == before {
        draw(&mut String::new());
    }
    let mut drawn = String::new();

    for _ in 0..DRAWS {
        draw(&mut drawn);
    }
    print!("{}DONE\n", drawn);
}
