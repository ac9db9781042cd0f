//! Medians of what one thing takes each contender, taking turns.

use std::time::{Duration, Instant};

/// A name, and what is measured.
pub(crate) type Contender<'a> = (&'a str, Box<dyn Fn() + 'a>);

/// After each measurement, for what it left to be cleaned up.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn time(action: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    action();
    let took = begun.elapsed();
    std::thread::sleep(PAUSE);
    took
}

/// What one thing took each contender; the first is wharfie.
pub(crate) struct Table {
    title: String,
    rows: Vec<(String, Vec<Duration>)>,
}

impl Table {
    pub(crate) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn measure(&mut self, runs: usize, contenders: &[Contender<'_>]) {
        // The first of each reads its files from disk.
        contenders.iter().for_each(|(_, action)| action());
        for _ in 0..runs {
            for (name, action) in contenders {
                self.add(name, time(action));
            }
        }
        self.print();
    }

    pub(crate) fn add(&mut self, name: &str, took: Duration) {
        match self.rows.iter_mut().find(|(row, _)| row == name) {
            Some((_, times)) => times.push(took),
            None => self.rows.push((name.to_owned(), vec![took])),
        }
    }

    pub(crate) fn print(&self) {
        println!("{}", self.title);
        let milliseconds = |times: &[Duration]| {
            let mut sorted = times.to_vec();
            sorted.sort();
            sorted[sorted.len() / 2].as_secs_f64() * 1000.0
        };
        let own = self
            .rows
            .first()
            .map_or(1.0, |(_, times)| milliseconds(times));
        for (name, times) in &self.rows {
            let median = milliseconds(times);
            println!("  {name:<28} {median:>9.1}  ({:.1})", median / own);
        }
        println!();
    }
}
