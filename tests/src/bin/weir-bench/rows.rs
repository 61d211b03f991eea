//! The rows of the table: which work, in which unit, against which budget (DESIGN §13).

use std::time::Duration;

use tempfile::TempDir;

use crate::Outcome;
use crate::sample;
use crate::scene::{Scene, Side};

/// One row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// As DESIGN has it.
    pub(crate) budget: &'static str,
    /// What the clients do first, uncounted.
    prepare: &'static [&'static str],
    /// What is measured: a word of the client's, the number of times, and what else the word takes.
    work: (&'static str, usize, &'static str),
    /// How many units one of these is.
    units: usize,
    rounds: usize,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Processor time of the proxy, microseconds.
    Processor,
    /// Processor time of Weir and of the plain relay, microseconds.
    RelayProcessor,
    /// The client's own clock, microseconds; beside Weir and the bare proxy also without either.
    Elapsed,
    /// The client's own clock: MiB a second, against the plain relay.
    Throughput,
    /// Memory of the proxy, KiB.
    Memory,
}

/// What one round came to, by side.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) bare: f64,
    pub(crate) weir: f64,
    pub(crate) direct: Option<f64>,
}

/// All rows.
pub(crate) fn all() -> Vec<Row> {
    use Unit::{Elapsed, Memory, Processor, RelayProcessor, Throughput};
    let row = |name, unit, budget, prepare, work, units, rounds| Row {
        name,
        unit,
        budget,
        prepare,
        work,
        units,
        rounds,
    };
    const RELAYED: usize = 512 << 20;
    vec![
        row(
            "small request, 32 connections",
            Processor,
            "≤ 1.3×",
            &["open 32", "small 1000"],
            ("small", 6000, ""),
            1,
            9,
        ),
        row(
            "SSE chunk, flat out",
            Processor,
            "≤ 1.1×",
            &["open 8", "stream 8 500 0"],
            ("stream", 100, "2000 0"),
            2000,
            7,
        ),
        row(
            "SSE chunk, paced",
            Processor,
            "≤ 1.1×",
            &["open 32", "stream 32 10 5000"],
            ("stream", 32, "300 5000"),
            300,
            7,
        ),
        row(
            "prompt of 1 MiB",
            Processor,
            "≤ 1.3×",
            &["open 4", "prompt 8"],
            ("prompt", 200, ""),
            1,
            7,
        ),
        row(
            "idle connection, memory",
            Memory,
            "≤ 15 KiB",
            &["open 1000"],
            ("open", 3000, ""),
            1,
            3,
        ),
        row(
            "open stream, memory",
            Memory,
            "≤ 30 KiB",
            &["open 1000"],
            ("open", 3000, "hold"),
            1,
            3,
        ),
        row(
            "new TLS connection",
            Processor,
            "≤ 220 to bare's 209: 1.05×",
            &["handshakes 100"],
            ("handshakes", 1000, ""),
            1,
            9,
        ),
        row(
            "relayed MiB, processor",
            RelayProcessor,
            "-",
            &["pull 8388608"],
            ("pull", RELAYED, ""),
            1,
            7,
        ),
        row(
            "relayed down, throughput",
            Throughput,
            "≥ 1.0×",
            &["pull 8388608"],
            ("pull", RELAYED, ""),
            1,
            9,
        ),
        row(
            "relayed up, throughput",
            Throughput,
            "≥ 1.0×",
            &["push 8388608"],
            ("push", RELAYED, ""),
            1,
            9,
        ),
        row(
            "connect()",
            Elapsed,
            "≤ 2 µs more than direct",
            &["connects 200"],
            ("connects", 2000, ""),
            1,
            9,
        ),
        row(
            "time to first token",
            Elapsed,
            "≤ 150 µs more than direct",
            &["open 1", "first 100"],
            ("first", 500, ""),
            1,
            9,
        ),
    ]
}

impl Row {
    /// All rounds.
    pub(crate) fn measure(&self, directory: &TempDir, quick: bool) -> Outcome<Vec<Round>> {
        let (rounds, share) = if quick { (3, 10) } else { (self.rounds, 1) };
        let count = (self.work.1 / share).max(1);
        if self.unit == Unit::Memory {
            // Each in new processes: what an earlier round has given back would be used again, and so not be seen.
            return (0..rounds.min(self.rounds))
                .map(|_| self.memory(&mut Scene::set(directory)?, count))
                .collect();
        }
        let mut scene = Scene::set(directory)?;
        let Scene {
            weir, bare, direct, ..
        } = &mut scene;
        for line in self.prepare {
            for side in [&mut *bare, &mut *weir, &mut *direct] {
                side.ask(line)?;
            }
        }
        (0..rounds)
            .map(|round| self.round(&mut scene, count, round % 2 == 0))
            .collect()
    }

    /// One after the other; who begins changes from round to round.
    fn round(&self, scene: &mut Scene, count: usize, weir_first: bool) -> Outcome<Round> {
        let line = format!("{} {count} {}", self.work.0, self.work.2);
        let line = line.trim_end();
        let (weir_process, bare_process) = match self.unit {
            Unit::RelayProcessor => (scene.weir.proxy.id(), scene.plain_relay.id()),
            _ => (scene.weir.proxy.id(), scene.bare.proxy.id()),
        };
        let units = (count * self.units) as f64;
        let measure = |side: &mut Side, process| -> Outcome<f64> {
            let before = sample::processor_time(process)?;
            let elapsed = side.ask(line)?;
            let used = sample::processor_time(process)? - before;
            Ok(match self.unit {
                Unit::Processor => microseconds(used) / units,
                Unit::RelayProcessor => microseconds(used) / (units / MEBIBYTE),
                Unit::Throughput => (units / MEBIBYTE) / (elapsed as f64 / 1e9),
                Unit::Elapsed | Unit::Memory => elapsed as f64 / 1e3,
            })
        };
        let (weir, bare) = if weir_first {
            let weir = measure(&mut scene.weir, weir_process)?;
            (weir, measure(&mut scene.bare, bare_process)?)
        } else {
            let bare = measure(&mut scene.bare, bare_process)?;
            (measure(&mut scene.weir, weir_process)?, bare)
        };
        let direct = match self.unit {
            Unit::Elapsed | Unit::Throughput => Some(measure(&mut scene.direct, bare_process)?),
            _ => None,
        };
        Ok(Round { bare, weir, direct })
    }

    fn memory(&self, scene: &mut Scene, count: usize) -> Outcome<Round> {
        let measure = |side: &mut Side| -> Outcome<f64> {
            let hold = self.work.2 == "hold";
            for line in self.prepare {
                side.ask(line)?;
            }
            let had = self
                .prepare
                .iter()
                .filter_map(|line| line.strip_prefix("open ")?.parse::<usize>().ok())
                .sum::<usize>();
            if hold {
                side.ask("hold")?;
            }
            let before = sample::memory(side.proxy.id())?;
            side.ask(&format!("open {}", had + count))?;
            if hold {
                side.ask("hold")?;
            }
            let after = sample::memory(side.proxy.id())?;
            Ok(after.saturating_sub(before) as f64 / 1024.0 / count as f64)
        };
        Ok(Round {
            bare: measure(&mut scene.bare)?,
            weir: measure(&mut scene.weir)?,
            direct: None,
        })
    }
}

const MEBIBYTE: f64 = (1 << 20) as f64;

fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}
