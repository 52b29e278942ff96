//! What is solved: training and held-out points in the units of the flow, the source, and the way back to the data's units.

use std::path::Path;

use ndarray::{Array2, ArrayView2};
use proxflow::array::{ArrayPath, read_points};
use proxflow::command::{Failure, write_json};
use proxflow::own_data::{Standardisation, Standardise, Table};
use proxflow::source_law::{SourceChoice, SourceLaw};
use proxflow::targets::Target;
use proxflow_gpu::random::{Stream, StreamLabel};
use serde::{Deserialize, Serialize};

use crate::configuration::RunConfiguration;

/// The data of a run.
pub struct Problem {
    /// Training points `(n, d)`, standardised.
    pub train: Array2<f64>,
    /// Points `(m, d)` that the flow never sees, standardised.
    pub held_out: Array2<f64>,
    /// The law of `x_0`.
    pub source: SourceLaw,
    /// What samples need beside the checkpoint.
    pub frame: Frame,
}

/// What turns the flow's points into the user's; `data.json` of a run directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frame {
    /// Where the data came from.
    pub data: String,
    /// How they were scaled.
    pub standardise: Standardise,
    /// The map.
    pub standardisation: Standardisation,
    /// Height and width where a row is an image.
    pub image: Option<[usize; 2]>,
    /// Training and held-out rows.
    pub rows: [usize; 2],
}

impl Problem {
    /// Loads, splits and standardises; completes `configuration.standardise`.
    pub fn load(configuration: &mut RunConfiguration) -> Result<Self, Failure> {
        let seed = configuration.training.seed;
        let table = Table::load(&configuration.data, configuration.rows, seed)?;
        let split = table.split(configuration.held_out, seed)?;
        let usual = if table.image.is_some() { Standardise::Global } else { Standardise::Columns };
        let how = *configuration.standardise.get_or_insert(usual);
        let standardisation = Standardisation::of(how, split.train.view(), &configuration.data)?;
        let source = source_law(&configuration.source, &standardisation)?;
        Ok(Self {
            train: standardisation.apply(split.train.view()),
            held_out: standardisation.apply(split.held_out.view()),
            source,
            frame: Frame {
                data: configuration.data.clone(),
                standardise: how,
                standardisation,
                image: table.image,
                rows: [split.train.nrows(), split.held_out.nrows()],
            },
        })
    }

    /// Dimension `d`.
    pub fn dimension(&self) -> usize {
        self.train.ncols()
    }

    /// `count` source points from the stream `label` of the root `seed`.
    pub fn noise(&self, count: usize, seed: u64, label: StreamLabel) -> Array2<f32> {
        self.source.draw(count, self.dimension(), Stream::new(seed, label).generator())
    }
}

impl Frame {
    /// Writes `data.json`.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        write_json(&folder.join(FILE).to_string_lossy(), self)
    }

    /// Reads `data.json` of a run.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let bad = |what: &dyn std::fmt::Display| {
            Failure::bad_input(
                "run",
                format!("{}: {what}", path.display()),
                "the folder of a run of `flow train`",
            )
        };
        let text = std::fs::read_to_string(&path).map_err(|error| bad(&error))?;
        serde_json::from_str(&text).map_err(|error| bad(&error))
    }

    /// The named target that the data were drawn from.
    pub fn target(&self) -> Option<Target> {
        self.data.parse().ok()
    }

    /// Mean distance of points `(n, d)` in the flow's units to the target's lower-dimensional support, in the data's units.
    pub fn distance_to_support(&self, rows: ArrayView2<'_, f64>) -> Option<f64> {
        let target = self.target()?;
        let own = self.standardisation.undo(rows);
        let distances: Option<Vec<f64>> =
            own.rows().into_iter().map(|row| target.distance(&row.to_vec())).collect();
        distances.map(|all| all.iter().sum::<f64>() / all.len().max(1) as f64)
    }
}

const FILE: &str = "data.json";

/// The law that a choice names; a file's points are brought to the units of the flow.
pub fn source_law(choice: &SourceChoice, map: &Standardisation) -> Result<SourceLaw, Failure> {
    Ok(match choice {
        SourceChoice::Gaussian => SourceLaw::Gaussian,
        SourceChoice::Uniform => SourceLaw::Uniform,
        SourceChoice::Logistic => SourceLaw::Logistic,
        SourceChoice::File(file) => {
            if !Path::new(file).exists() && ArrayPath::from(file.as_str()).member.is_none() {
                let allowed = "gaussian, uniform, logistic or a file of points (n, d)";
                return Err(Failure::bad_input("source", format!("{file}: no such file"), allowed));
            }
            let points = read_points(&ArrayPath::from(file.as_str()))?;
            if points.ncols() != map.centre.len() {
                let value = format!("{} columns", points.ncols());
                return Err(Failure::bad_input(file, value, format!("{}, as the data", map.centre.len())));
            }
            SourceLaw::Samples(map.apply(points.view()))
        }
    })
}
