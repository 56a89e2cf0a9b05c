//! Rounds: every test on every server in turn, and what is made of the samples.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lab::{LARGE_QUESTION, Lab, NGINX, OURS, SMALL, SMALL_QUESTION, at};
use crate::Run;
use crate::error::Outcome;
use crate::limits::{CONNECTIONS, H2, HANDSHAKE_LOOPS};
use crate::load::{Handshakes, KeepAlive, Kind, Sample, Streams};
use crate::peers::Server;
use crate::report::{Table, number};
use crate::statistics::{Values, median, ratio};

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Test {
    /// Small GET, HTTP/1.1 keep-alive.
    Small,
    /// Full handshake and small GET.
    Full,
    /// The same with RSA certificates, which the lab has.
    FullRsa,
    /// Resumed handshake and small GET.
    Resumed,
    /// GET of 64 KiB, HTTP/1.1 keep-alive.
    Large,
    /// Small GET, HTTP/2.
    Http2,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Answers per second.
    Rate,
    /// CPU microseconds per answer.
    Cpu,
}

/// One server in one test, a value per round.
#[derive(Clone, Debug, Default)]
struct Series {
    rates: Vec<f64>,
    cpu: Vec<f64>,
    p99: Vec<f64>,
    /// CPU microseconds per answer of load generator and upstream.
    load: Vec<f64>,
    unexpected: u64,
    resumed: u64,
    answers: u64,
}

/// All samples of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    order: Vec<&'static str>,
    series: BTreeMap<(Test, &'static str), Series>,
}

// === impl Test ===

impl Test {
    pub(super) const ALL: [Self; 6] = [Self::Small, Self::Full, Self::FullRsa, Self::Resumed, Self::Large, Self::Http2];

    /// The tests of the run that need servers with P-256 certificates.
    pub(super) fn with_p256(run: &Run) -> Vec<Self> {
        Self::ALL.into_iter().filter(|test| *test != Self::FullRsa && test.is_wanted(run)).collect()
    }

    /// The tests of the run that need servers with RSA certificates.
    pub(super) fn with_rsa(run: &Run) -> Vec<Self> {
        Self::ALL.into_iter().filter(|test| *test == Self::FullRsa && test.is_wanted(run)).collect()
    }

    fn is_wanted(self, run: &Run) -> bool {
        run.tests.is_empty() || run.tests.contains(&self)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Small => "Small GET, HTTP/1.1 keep-alive (447 bytes, 32 connections)",
            Self::Full => "Full mTLS handshake + small GET (P-256, 16 loops)",
            Self::FullRsa => "Full mTLS handshake + small GET (RSA-2048, 16 loops)",
            Self::Resumed => "Resumed handshake + small GET (P-256, 16 loops)",
            Self::Large => "GET of 64 KiB, HTTP/1.1 keep-alive (32 connections)",
            Self::Http2 => "Small GET, HTTP/2 (8 connections x 8 streams)",
        }
    }

    /// Runs on one server; gives CPU seconds of the server too.
    async fn measure(self, server: &Server, time: Duration) -> Outcome<(Sample, f64)> {
        let endpoint = &server.endpoint;
        let cpu = || server.process.cpu_seconds();
        let (before, sample) = match self {
            Self::Small | Self::Large => {
                let question = if self == Self::Large { LARGE_QUESTION } else { SMALL_QUESTION };
                let mut lanes = KeepAlive::open(endpoint, question, CONNECTIONS).await?;
                (cpu(), lanes.run(time).await)
            }
            Self::Full | Self::FullRsa | Self::Resumed => {
                let kind = if self == Self::Resumed { Kind::Resumed } else { Kind::Full };
                let loops = Handshakes::open(endpoint, SMALL_QUESTION, kind, HANDSHAKE_LOOPS).await?;
                (cpu(), loops.run(time).await)
            }
            Self::Http2 => {
                let mut streams = Streams::open(endpoint, SMALL_QUESTION, H2).await?;
                (cpu(), streams.run(time).await)
            }
        };
        Ok((sample, cpu() - before))
    }
}

// === impl Rounds ===

impl Rounds {
    /// One test on every server; each round begins with another server.
    pub(super) async fn run(&mut self, test: Test, lab: &mut Lab, round: usize, time: Duration) -> Outcome<()> {
        let count = lab.servers.len();
        self.order = lab.servers.iter().map(|server| server.label).collect();
        for number in 0..count {
            let index = (number + round) % count;
            if let Some(server) = lab.servers.get_mut(index) {
                server.process.must_run()?;
            }
            let Some(server) = lab.servers.get(index) else { continue };
            // What the test before left to do (closing connections, writing back) is not this server's work.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let load = lab.load_seconds();
            let measured = test.measure(server, time).await;
            let load = lab.load_seconds() - load;
            let (sample, cpu) = measured.map_err(|failure| at(server, &failure))?;
            let series = self.series.entry((test, server.label)).or_default();
            series.rates.push(sample.rate());
            series.cpu.push(cpu * 1e6 / (sample.answers.max(1) as f64));
            // The handshakes that open the connections of a test are in it, so it is a little too high.
            series.load.push(load * 1e6 / (sample.answers.max(1) as f64));
            series.unexpected += sample.unexpected;
            series.resumed += sample.resumed;
            series.answers += sample.answers;
            series.p99.push(Values::new(sample.latencies).p99());
        }
        Ok(())
    }

    fn values(&self, test: Test, measure: Measure, label: &'static str) -> &[f64] {
        self.series.get(&(test, label)).map_or(&[], |series| match measure {
            Measure::Rate => &series.rates,
            Measure::Cpu => &series.cpu,
        })
    }

    /// Median over the rounds.
    pub(super) fn typical(&self, test: Test, label: &'static str, measure: Measure) -> f64 {
        median(self.values(test, measure, label).iter().copied())
    }

    /// Median of the ratios of each round.
    pub(super) fn ratio(&self, test: Test, measure: Measure, ours: &'static str, theirs: &'static str) -> f64 {
        ratio(self.values(test, measure, ours), self.values(test, measure, theirs))
    }

    /// Answers of our gateways that were not the expected ones.
    pub(super) fn unexpected(&self) -> u64 {
        let ours = self.series.iter().filter(|((_, label), _)| [OURS, SMALL].contains(label));
        ours.map(|(_, series)| series.unexpected).sum()
    }

    /// How many connections that asked for it were resumed.
    pub(super) fn resumed_share(&self, label: &'static str) -> f64 {
        self.series
            .get(&(Test::Resumed, label))
            .map_or(f64::NAN, |series| (series.resumed as f64) / (series.answers.max(1) as f64))
    }

    /// Every round of every test and server.
    pub(super) fn samples(&self) -> serde_json::Value {
        let all = self.series.iter().map(|((test, label), series)| {
            serde_json::json!({
                "test": test.title(),
                "server": label,
                "requests-per-second": series.rates,
                "cpu-microseconds-per-request": series.cpu,
                "load-cpu-microseconds-per-request": series.load,
                "p99-microseconds": series.p99,
            })
        });
        all.collect()
    }

    /// The servers of a test in the order in which they were started; none if the test did not run.
    pub(super) fn table(&self, test: Test) -> Option<Table> {
        let of_test = self.order.iter().filter_map(|label| Some((*label, self.series.get(&(test, *label))?)));
        let rows: Vec<Vec<String>> = of_test
            .map(|(label, series)| {
                let compared = |measure| number(self.ratio(test, measure, label, NGINX));
                vec![
                    label.to_owned(),
                    number(self.typical(test, label, Measure::Rate)),
                    compared(Measure::Rate),
                    // Microseconds per answer and seconds per 100,000 answers differ by a factor of ten.
                    number(self.typical(test, label, Measure::Cpu) / 10.0),
                    compared(Measure::Cpu),
                    number(median(series.load.iter().copied()) / 10.0),
                    number(median(series.p99.iter().copied()) / 1e3),
                    series.unexpected.to_string(),
                ]
            })
            .collect();
        let header = ["server", "req/s", "/ nginx", "CPU s/100k", "/ nginx", "load CPU s/100k", "p99 ms", "unexpected"];
        (!rows.is_empty()).then(|| Table::new(test.title(), &header, rows))
    }
}
