// SPDX-License-Identifier: Apache-2.0
//! Against libsnapsafe and a counter that is a file: `SNAPSAFE_DEVICE`, set by tests/languages/run. A generator's clone stands for
//! that of another machine.
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use rand_core::{RngCore, SeedableRng, TryRngCore};
use snapsafe::{Reseeding, Rng, Token};

/// Tests run side by side, and there is one machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// The machine is another one from here on.
fn restore() {
    let path = std::env::var("SNAPSAFE_DEVICE").expect("SNAPSAFE_DEVICE is the counter");
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut word = [0; 8];

    file.read_exact_at(&mut word, 0).unwrap();
    file.write_all_at(&(u64::from_ne_bytes(word) + 1).to_ne_bytes(), 0).unwrap();
}

/// Counts on from its seed; a restore may fall into its `restore_at`-th draw.
struct Counting {
    next: u64,
    restore_at: Option<u64>,
}

impl SeedableRng for Counting {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        Counting { next: u64::from_ne_bytes(seed), restore_at: None }
    }
}

impl RngCore for Counting {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        if self.restore_at == Some(self.next) {
            restore();
        }
        self.next
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.next_u64() as u8);
    }
}

#[test]
fn a_restore_is_noticed() {
    let _one = MACHINE.lock();
    let (token, generation) = (Token::now(), snapsafe::generation());

    assert!(token.holds());
    assert_eq!(token.check(), Some(true));
    restore();
    assert!(!token.holds());
    assert_eq!(token.check(), Some(false));
    assert_eq!(snapsafe::generation(), generation + 1);
    assert_eq!(snapsafe::identity(), None, "a file has none");
}

#[test]
fn bytes_differ() {
    let mut first = [0; 64];
    let mut second = [0; 64];

    Rng.try_fill_bytes(&mut first).unwrap();
    Rng.try_fill_bytes(&mut second).unwrap();
    assert_ne!(first, second);
    assert_ne!(first, [0; 64]);
    assert_ne!(Rng.try_next_u64().unwrap(), Rng.try_next_u64().unwrap());
    snapsafe::fill(&mut []).unwrap();
}

#[test]
fn a_generator_goes_on_until_there_is_a_restore() {
    let _one = MACHINE.lock();
    let mut generator = Reseeding::<Counting>::new().unwrap();
    let first = generator.next_u64();

    assert_eq!(generator.next_u64(), first.wrapping_add(1));
    restore();
    let other = generator.next_u64();

    assert_ne!(other, first.wrapping_add(2));
    assert_eq!(generator.next_u64(), other.wrapping_add(1));
}

/// A seed that makes the first draw fall into a restore.
struct Hit(Counting);

impl SeedableRng for Hit {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        static FIRST: Mutex<bool> = Mutex::new(true);
        let mut generator = Counting::from_seed(seed);
        let first = std::mem::replace(&mut *FIRST.lock().unwrap(), false);

        generator.restore_at = first.then_some(generator.next.wrapping_add(1));
        Hit(generator)
    }
}

impl RngCore for Hit {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        let value = self.0.next_u64();

        if self.0.restore_at == Some(value) {
            return 0; // what must not come out
        }
        value
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes)
    }
}

#[test]
fn what_a_restore_falls_into_is_thrown_away() {
    let _one = MACHINE.lock();
    let generation = snapsafe::generation();
    let mut generator = Reseeding::<Hit>::new().unwrap();

    assert_ne!(generator.next_u64(), 0);
    assert_eq!(snapsafe::generation(), generation + 1);
}
