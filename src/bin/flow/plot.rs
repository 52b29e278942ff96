//! `flow plot`: the pictures and the page of a run, from its written files.

use std::path::Path;

use clap::Args;
use ndarray::{Array2, ArrayView2, Axis, s};
use proxflow::command::{COMMIT, Failure, write_atomically};
use proxflow::curves;
use proxflow::libtorch::rows_of;
use proxflow::pictures::{
    BLUE, DATA, GENERATED, Grid, Layer, Page, Panel, Plane, SOURCE, Section, Sheet, Window, image_grid,
    write_animation,
};
use proxflow_gpu::flow::simulate;
use proxflow_gpu::random::{Stream, StreamLabel};
use proxflow_io::plot::Plot;
use serde_json::Value;
use tch::Device;

use crate::problem::Problem;
use crate::run::Run;
use crate::sample::OnRun;

/// Options of `flow plot`.
#[derive(Args, Clone)]
#[command(after_help = "Example:\n  flow plot --run runs/moons")]
pub struct Arguments {
    #[command(flatten)]
    on: OnRun,
}

/// Source points that are followed, and of these the ones whose paths are drawn.
const POINTS: usize = 600;
const PATHS: usize = 90;
/// Steps of the flow that is drawn, at least: a bend between two Euler steps of training must be seen.
const FINE_STEPS: usize = 24;
/// Squares per side of a level picture.
const SIDE: usize = 110;
/// Times of the level pictures, as parts of the horizon.
const TIMES: [f64; 4] = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0];
/// Images of a gallery.
const IMAGES: usize = 60;

/// Draws everything again.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = arguments.on.open()?.model.potential.options().1;
    draw_run(&arguments.on.run, device)
}

/// What the pictures of a run are made of.
pub struct Scene {
    run: Run,
    plane: Plane,
    window: Window,
    train: Vec<(f64, f64)>,
    held_out: Vec<(f64, f64)>,
    /// Places of the followed points at every fine time.
    pub places: Vec<Vec<(f64, f64)>>,
    /// The followed points at the end, in the flow's units.
    pub ends: Array2<f64>,
    caption: String,
}

impl Scene {
    /// Reads the run and its data again and follows the flow.
    pub fn open(folder: &Path, device: Device) -> Result<Self, Failure> {
        let run = Run::open(folder, device)?;
        let problem = Problem::load(&mut run.configuration.clone())?;
        if problem.frame.rows != run.frame.rows
            || !problem.frame.standardisation.agrees_with(&run.frame.standardisation)
        {
            let allowed = "the data that the run was trained on";
            return Err(Failure::bad_input(
                "data",
                format!("{}, changed since", run.configuration.data),
                allowed,
            ));
        }
        let mut stream = Stream::new(run.configuration.training.seed, StreamLabel::Evaluation);
        let noise = run.source.draw(POINTS, run.dimension(), stream.generator()).mapv(f64::from);
        let steps = run.model.flow.steps.max(FINE_STEPS);
        let trajectory =
            simulate(&run.model.potential, &run.tensor(noise.view()), run.model.flow.with_steps(steps));
        let positions: Vec<Array2<f64>> = trajectory.positions.iter().map(rows_of).collect();
        let shown = |rows: ArrayView2<'_, f64>| match run.dimension() {
            1 | 2 => run.frame.standardisation.undo(rows),
            _ => rows.to_owned(),
        };
        let plane = Plane::of(shown(problem.train.view()).view());
        let places: Vec<Vec<(f64, f64)>> = positions
            .iter()
            .enumerate()
            .map(|(k, rows)| plane.places(shown(rows.view()).view(), k as f64 / steps as f64))
            .collect();
        let train = plane.places(shown(problem.train.view()).view(), 1.0);
        let held_out = plane.places(shown(problem.held_out.view()).view(), 1.0);
        let all: Vec<(f64, f64)> =
            [&train, &places[0], &places[steps]].into_iter().flatten().copied().collect();
        let window = Window::around(&all, run.dimension() == 1);
        let training = &run.configuration.training;
        let caption = format!(
            "{}, {} {}, source {}, lambda = {}, L = {}, T = {}, seed {}, commit {COMMIT}; {}",
            run.configuration.data,
            match run.configuration.model {
                crate::configuration::ModelChoice::HopfLax => "hopf-lax",
                crate::configuration::ModelChoice::Dense => "dense",
            },
            training.case.name(),
            run.configuration.source,
            training.lambda,
            training.lipschitz,
            training.horizon,
            training.seed,
            plane.in_words()
        );
        let ends = positions.last().cloned().unwrap_or_default();
        Ok(Self { run, plane, window, train, held_out, places, ends, caption })
    }

    /// Data, paths, start and end.
    pub fn paths(&self, title: &str) -> Panel {
        let last = self.places.len() - 1;
        let lines =
            (0..PATHS.min(POINTS)).map(|i| self.places.iter().map(|places| places[i]).collect()).collect();
        Panel {
            title: title.to_owned(),
            layers: vec![
                dots(&self.train, DATA, 1, 0.5),
                dots(&self.places[0], SOURCE, 1, 0.8),
                Layer::Lines { lines, colour: BLUE, opacity: 0.45 },
                dots(&self.places[last], GENERATED, 2, 0.7),
            ],
            window: self.window,
        }
    }

    /// Mean distance of the samples to the target's lower-dimensional support.
    pub fn distance_to_support(&self) -> Option<f64> {
        self.run.frame.distance_to_support(self.ends.view())
    }

    /// What all cases share.
    pub fn caption_without_case(&self) -> String {
        self.caption.replace(&format!("dense {},", self.run.configuration.training.case.name()), "dense,")
    }

    fn ends(&self) -> Panel {
        let last = self.places.len() - 1;
        Panel {
            title: "held-out data (grey) and samples".to_owned(),
            layers: vec![dots(&self.held_out, DATA, 2, 0.7), dots(&self.places[last], GENERATED, 2, 0.7)],
            window: self.window,
        }
    }

    fn levels(&self) -> Result<Vec<Panel>, Failure> {
        let mut panels = Vec::new();
        for time in TIMES {
            let t = time * self.run.model.flow.horizon;
            let mut values = Vec::with_capacity(SIDE * SIDE);
            for row in 0..SIDE {
                let mut points = Array2::zeros((SIDE, self.run.dimension()));
                for column in 0..SIDE {
                    let (x, y) = Grid::centre(self.window, SIDE, column, row);
                    let lifted = self.plane.lift(x, y);
                    points.row_mut(column).iter_mut().zip(lifted).for_each(|(cell, value)| *cell = value);
                }
                let own = match self.run.dimension() {
                    2 => self.run.frame.standardisation.apply(points.view()),
                    _ => points,
                };
                let found = self.run.model.potential.value(&self.run.tensor(own.view()), t).unsqueeze(1);
                values.extend(rows_of(&found).column(0).iter().copied());
            }
            let grid = Grid { window: self.window, side: SIDE, values };
            let near = (time * (self.places.len() - 1) as f64).round() as usize;
            panels.push(Panel {
                title: format!("U(x, {:.2} T), {}", time, if time > 0.99 { "samples" } else { "particles" }),
                layers: vec![Layer::Field { grid, levels: 14 }, dots(&self.places[near], GENERATED, 1, 0.9)],
                window: self.window,
            });
        }
        Ok(panels)
    }

    fn frames(&self) -> Vec<Sheet> {
        let last = self.places.len() - 1;
        (0..=last)
            .map(|k| {
                let tails =
                    (0..POINTS).map(|i| self.places[k.saturating_sub(4)..=k].iter().map(|p| p[i]).collect());
                Sheet {
                    panels: vec![Panel {
                        title: format!("t = {:.2} T", k as f64 / last as f64),
                        layers: vec![
                            dots(&self.train, DATA, 1, 0.4),
                            Layer::Lines { lines: tails.collect(), colour: BLUE, opacity: 0.3 },
                            dots(&self.places[k], GENERATED, 2, 0.8),
                        ],
                        window: self.window,
                    }],
                    columns: 1,
                    side: 440,
                    caption: self.caption.clone(),
                }
            })
            .collect()
    }

    fn sheet(&self, panels: Vec<Panel>, columns: usize) -> Sheet {
        Sheet { panels, columns, side: 480, caption: self.caption.clone() }
    }
}

/// Dots of one colour.
pub fn dots(at: &[(f64, f64)], colour: plotters::style::RGBColor, radius: i32, opacity: f64) -> Layer {
    Layer::Points { at: at.to_vec(), colour, radius, opacity }
}

/// Pictures and page of a run, in its folder: `paths.png`, `levels.png` (`d >= 2`), `flow.png` (animated), `images.png` (images), `curves.svg`,
/// `gap.svg`, `report.html`.
pub fn draw_run(folder: &Path, device: Device) -> Result<(), Failure> {
    let scene = Scene::open(folder, device)?;
    let mut sections = Vec::new();
    let mut put = |name: &str, bytes: Vec<u8>, words: &str| -> Result<(), Failure> {
        write_atomically(&folder.join(name), &bytes)?;
        sections.push(Section::Picture(bytes, words.to_owned()));
        Ok(())
    };
    if let Some(shape) = scene.run.frame.image {
        put("images.png", gallery(&scene, shape)?, "above: samples, each beside its nearest training image")?;
    }
    let paths = scene.sheet(
        vec![scene.paths("data (grey), source (light blue), paths, samples (orange)"), scene.ends()],
        2,
    );
    put(
        "paths.png",
        paths.to_png()?,
        "Paths of the flow over the data, and its samples over data that it has not seen",
    )?;
    put("flow.png", write_animation(&scene.frames(), 90, 15)?, "The flow over time (animated)")?;
    if scene.run.dimension() >= 2 {
        let sheet = scene.sheet(scene.levels()?, 2);
        let words = "The potential U and its level sets over time; particles move against its gradient";
        put("levels.png", sheet.to_png()?, words)?;
    }
    let metrics = folder.join("metrics.csv");
    let report: Value = std::fs::read(folder.join("report.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(Value::Null);
    if metrics.exists() {
        curves::draw(&metrics, &folder.join("curves.svg"), &scene.caption)?;
        let gap = gap_plot(&metrics)?;
        write_atomically(&folder.join("gap.svg"), gap.as_bytes())?;
        sections.push(Section::Heading("Certified gap during training".to_owned()));
        sections.push(Section::Svg(gap));
        sections.push(Section::Heading("Indicators during training".to_owned()));
        sections.push(Section::Svg(read(&folder.join("curves.svg"))?));
    }
    let mut all = vec![
        Section::Text(scene.caption.clone()),
        Section::Heading("Certificate".to_owned()),
        Section::Table(certificate_table(&report)),
        Section::Heading("Pictures".to_owned()),
    ];
    all.extend(sections);
    all.push(Section::Heading("Provenance".to_owned()));
    all.push(Section::Verbatim("config.toml".to_owned(), read(&folder.join("config.toml"))?));
    all.push(Section::Verbatim("report.json".to_owned(), format!("{report:#}")));
    let page = Page { title: format!("Flow to {}", scene.run.configuration.data), sections: all };
    write_atomically(&folder.join("report.html"), page.to_html().as_bytes())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(path.display(), error, "a readable file"))
}

/// Samples, and below each row the nearest training images.
fn gallery(scene: &Scene, shape: [usize; 2]) -> Result<Vec<u8>, Failure> {
    let problem = Problem::load(&mut scene.run.configuration.clone())?;
    let count = scene.ends.nrows().min(IMAGES);
    let ends = scene.ends.slice(s![..count, ..]);
    let nearest: Vec<usize> =
        proxflow::pictures::nearest(ends, problem.train.view()).into_iter().map(|(index, _)| index).collect();
    let undo = |rows: ArrayView2<'_, f64>| scene.run.frame.standardisation.undo(rows);
    let (samples, data) = (undo(ends), undo(problem.train.select(Axis(0), &nearest).view()));
    let columns = 20;
    let mut rows = Array2::zeros((0, samples.ncols()));
    for (a, b) in samples.axis_chunks_iter(Axis(0), columns).zip(data.axis_chunks_iter(Axis(0), columns)) {
        for part in [a, b] {
            for row in part.rows() {
                rows.push_row(row).map_err(|error| Failure::Run(error.to_string()))?;
            }
        }
    }
    let own = undo(problem.train.view());
    let range =
        own.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(*v), high.max(*v)]);
    image_grid(rows.view(), shape, columns, range)
}

/// The gap with its bounds over the steps, from `metrics.csv`.
fn gap_plot(metrics: &Path) -> Result<String, Failure> {
    let failed = |error: csv::Error| Failure::bad_input(metrics.display(), error, "a metrics.csv of a run");
    let mut reader = csv::Reader::from_path(metrics).map_err(failed)?;
    let header: Vec<String> = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    let at = |name: &str| header.iter().position(|found| found == name);
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for record in reader.records() {
        rows.push(record.map_err(failed)?.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect());
    }
    let series = |name: &str, scale: fn(&[f64], usize) -> f64| -> Vec<(f64, f64)> {
        let (Some(step), Some(column)) = (at("iteration"), at(name)) else { return Vec::new() };
        rows.iter()
            .map(|row| (row[step], scale(row, column)))
            .filter(|(_, value)| value.is_finite())
            .collect()
    };
    let itself = |row: &[f64], column: usize| row[column];
    let mut plot = Plot::new(
        "J - J* of the flow",
        "steps",
        "J - J*",
        "Between the two lines on the held-out batch; over all noise, three standard errors above the estimate.",
    )
    .line("held-out batch, upper bound", series("gap_upper", itself))
    .line("held-out batch, lower bound", series("gap_lower", itself));
    if let (Some(excess), Some(error)) = (at("excess"), at("excess_stderr")) {
        let step = at("iteration").unwrap_or(0);
        let upper: Vec<(f64, f64)> = rows
            .iter()
            .map(|row| (row[step], row[excess].max(0.0) + 3.0 * row[error]))
            .filter(|(_, value)| value.is_finite())
            .collect();
        if !upper.is_empty() {
            plot = plot.line("over all noise, upper bound", upper);
        }
    }
    plot.to_svg().map_err(Failure::Run)
}

/// The lines of the report that a reader looks for first.
fn certificate_table(report: &Value) -> Vec<Vec<String>> {
    let number =
        |value: &Value| value.as_f64().map_or_else(|| "not measured".to_owned(), |x| format!("{x:.5}"));
    let percent = |value: &Value| {
        value.as_f64().map_or_else(|| "not measured".to_owned(), |x| format!("{:.2} %", 100.0 * x))
    };
    let pair = |value: &Value| format!("[{}, {}]", number(&value[0]), number(&value[1]));
    let mut rows = vec![vec!["quantity".to_owned(), "value".to_owned(), "meaning".to_owned()]];
    let mut row =
        |name: &str, value: String, meaning: &str| rows.push(vec![name.into(), value, meaning.into()]);
    let population = &report["population"];
    if !population.is_null() {
        row(
            "J* and J over all noise",
            pair(&population["interval"]),
            "both lie here (three standard errors), training points or prototypes as data",
        );
        row("(J - J*)/J* over all noise", percent(&population["relative"]), "at most");
    }
    let held_out = &report["held_out"];
    row("J on the held-out batch", pair(&held_out["objective"]), "certified bounds");
    row("J* on the held-out batch", pair(&held_out["optimum"]), "certified bounds");
    row("(J - J*)/J* there", percent(&held_out["relative"]), "at most; two samples of one law differ");
    row("floor", percent(&held_out["floor"]), "what training points themselves, as many, would pay");
    let indicators = &report["indicators"];
    row("straightness", number(&indicators["straightness"]), "path length over distance, 1: straight");
    row("step-size deviation", number(&indicators["deviation"]), "from eight times more steps, 0: none");
    row(
        "Hamilton-Jacobi residual, gauged",
        number(&indicators["hj_residual_gauged_relative"]),
        "over lambda K, 0: solved",
    );
    row("critic slope, largest", number(&indicators["critic_slope_max"]), "at most L at the optimum");
    row("samples are", report["samples_are"].as_str().unwrap_or("").to_owned(), "");
    rows
}
