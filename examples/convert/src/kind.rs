//! The files that there are.

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pairs (x, y): what `linear-regression` reads.
    Pairs,
    /// Rows of numbers: what `logistic-regression` and `k-means` read.
    Rows,
    /// An intercept and weights: the model of `logistic-regression`.
    Model,
    /// Clusters, iterations and first centre: the parameters of `k-means`.
    Parameters,
    /// A gradient and an intercept: what `linear-regression` writes.
    Line,
    /// One number for each row: what `logistic-regression` writes.
    Numbers,
    /// Centres, clusters and sum of squares: what `k-means` writes.
    Clusters,
}

impl Kind {
    /// Every kind and its name on the command line.
    pub const ALL: &[(&str, Kind)] = &[
        ("pairs", Kind::Pairs),
        ("rows", Kind::Rows),
        ("model", Kind::Model),
        ("parameters", Kind::Parameters),
        ("line", Kind::Line),
        ("numbers", Kind::Numbers),
        ("clusters", Kind::Clusters),
    ];

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}
