//! What a call costs while users and keys become more: the stores grow in steps, and at each of them the same is asked.
//! It must not know how a figure is measured.

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use tollgate_benches::{budget::Budget, plot::Plot, spread::Spread};

use crate::{
    Args,
    cases::Case,
    measure::{self, Figures},
    world::World,
};

/// Users, each with a key, at which it is looked what a call costs; those beyond `--users` are left out.
const SIZES: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];
/// What is asked at each of them.
const ASKED: &[Case] = &[Case::KnownKey, Case::UnknownKey, Case::KnownClerk];
/// Against the time of the other cases: there are many points, and CPU needs fewer answers than a 99th percentile.
const SHARE_OF_TIME: u64 = 2;
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/plots");

/// All turns of every point.
pub(crate) struct Growth {
    args: Args,
    sizes: Vec<u64>,
    figures: BTreeMap<(&'static str, Case, u64), Vec<Figures>>,
}

impl Growth {
    /// Grows the stores, and measures on the way.
    pub(crate) async fn measure(worlds: &mut [World; 2], args: Args) -> Self {
        let mut sizes: Vec<u64> = SIZES.iter().copied().filter(|size| *size < args.users).collect();
        sizes.push(args.users);
        let args = Args { millis: (args.millis / SHARE_OF_TIME).max(1), ..args };
        let mut figures = BTreeMap::<_, Vec<Figures>>::new();
        for &size in &sizes {
            let began = Instant::now();
            let [one, other] = &mut *worlds;
            tokio::join!(one.grow(size), other.grow(size));
            for world in &*worlds {
                world.settle().await;
            }
            println!("{size} users in each store after {:.1} s", began.elapsed().as_secs_f64());
            for turn in 0..=args.turns {
                for case in ASKED {
                    for world in &*worlds {
                        let measured = measure::run(world, *case, args).await;
                        // The first turn brings into memory what is asked for most.
                        if turn > 0 {
                            println!("turn {turn}: {:<8} {:<28} {measured}", world.name, case.name());
                            figures.entry((world.name, *case, size)).or_default().push(measured);
                        }
                    }
                }
            }
        }
        Self { args, sizes, figures }
    }

    fn spread(&self, store: &'static str, case: Case, size: u64, pick: fn(&Figures) -> f64) -> Spread {
        Spread::of(self.figures[&(store, case, size)].iter().map(pick))
    }

    fn stores(&self) -> Vec<&'static str> {
        let mut stores: Vec<&str> = self.figures.keys().map(|(store, ..)| *store).collect();
        stores.dedup();
        stores
    }

    /// The table.
    pub(crate) fn text(&self, budget: &Budget) -> String {
        let (first, last) = (self.sizes[0], self.sizes[self.sizes.len() - 1]);
        let Args { millis, turns, .. } = self.args;
        let mut text = format!(
            "#### Growth\n\nThe same while users, each with a key, become more: CPU for each answer in µs, and in brackets the \
             median time until an answer in ms. {turns} turns of {millis} ms for each number, SQLite and MongoDB by turns; \
             medians. The last columns compare the CPU at {last} users with that at {first} (lowest–highest of the \
             turns).\n\n| asked | store |"
        );
        for size in &self.sizes {
            let _ = write!(text, " {size} |");
        }
        let _ = writeln!(text, " {last} ÷ {first} | target | |\n|{}", " --- |".repeat(self.sizes.len() + 5));
        for case in ASKED {
            for store in self.stores() {
                let _ = write!(text, "| {} | {store} |", case.name());
                for &size in &self.sizes {
                    let median = |pick: fn(&Figures) -> f64| self.spread(store, *case, size, pick).median();
                    let _ = write!(text, " {:.0} ({:.2}) |", median(|one| one.cpu), median(|one| one.p50));
                }
                let turns = |size| self.figures[&(store, *case, size)].iter().map(|one| one.cpu);
                let ratio = Spread::of(turns(last).zip(turns(first)).map(|(last, first)| last / first));
                let verdict = budget.verdict(&format!("control plane growth: {}", case.name()), ratio.median());
                let _ = writeln!(text, " {} | {verdict} |", ratio.text());
            }
        }
        for store in self.stores() {
            let _ = write!(text, "\n![CPU by users, {store}](benches/plots/{})\n", file(store));
        }
        text
    }

    /// Writes a plot for each store.
    pub(crate) fn plot(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(FOLDER)?;
        for store in self.stores() {
            let curve = |case: &Case| {
                let values = self.sizes.iter().map(|&size| self.spread(store, *case, size, |one| one.cpu).median());
                (case.name().to_owned(), values.collect())
            };
            let plot = Plot {
                title: format!("CPU of the control plane and its store for each answer, {store}"),
                x: "users, each with a key".to_owned(),
                y: "µs".to_owned(),
                points: self.sizes.iter().map(|&size| size as f64).collect(),
                is_logarithmic: true,
                curves: ASKED.iter().map(curve).collect(),
            };
            std::fs::write(format!("{FOLDER}/{}", file(store)), plot.svg())?;
        }
        Ok(())
    }
}

fn file(store: &str) -> String {
    format!("control-plane-growth-{}.svg", store.to_lowercase())
}
