//! What is printed: a title, columns, a row for each proxy. `benches/arena/chart` reads it.

use std::collections::BTreeMap;

use crate::proxies::Proxy;

/// One measurement's figures, by name.
pub type Figures = BTreeMap<String, f64>;

/// All rounds of a workload, by what is measured.
#[derive(Default)]
pub struct Table {
    rows: Vec<(String, Vec<Figures>)>,
}

impl Table {
    /// Adds one round's figures to a row.
    pub fn add(&mut self, row: &str, figures: Figures) {
        match self.rows.iter_mut().find(|(name, _)| name == row) {
            Some((_, rounds)) => rounds.push(figures),
            None => self.rows.push((row.to_owned(), vec![figures])),
        }
    }

    /// The median of a figure's rounds.
    pub fn median(&self, row: &str, name: &str) -> Option<f64> {
        let (_, rounds) = self.rows.iter().find(|(its_name, _)| its_name == row)?;
        let mut values: Vec<f64> = rounds
            .iter()
            .filter_map(|figures| figures.get(name).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// The row whose name begins so: it may say how much less it carried.
    pub fn row(&self, begin: &str) -> Option<&str> {
        self.rows
            .iter()
            .map(|(name, _)| name.as_str())
            .find(|name| name.starts_with(begin))
    }

    /// Prints those columns: a name, how many decimals. What begins with `×` is the ratio to nginx
    /// of the column after it; `+` is what is more than direct.
    pub fn print(&self, title: &str, columns: &[(&str, usize)]) {
        println!("\n{title}");
        let widths: Vec<usize> = columns
            .iter()
            .map(|(name, _)| name.chars().count().max(8) + 2)
            .collect();
        print!("{:>22}", "");
        for ((name, _), &width) in columns.iter().zip(&widths) {
            print!("{name:>width$}");
        }
        println!();
        let nginx = Proxy::Nginx.name();
        for (row, _) in &self.rows {
            print!("{row:>22}");
            for (&(name, decimals), &width) in columns.iter().zip(&widths) {
                let value = match name {
                    "× nginx" => self
                        .median(row, columns[0].0)
                        .zip(self.median(nginx, columns[0].0))
                        .map(|(a, b)| a / b),
                    name if name.starts_with('+') => self
                        .median(row, name)
                        .zip(self.median("direct", name))
                        .map(|(a, b)| a - b),
                    name => self.median(row, name),
                };
                match value {
                    Some(value) => print!("{value:>width$.decimals$}"),
                    None => print!("{:>width$}", "–"),
                }
            }
            println!();
        }
        println!("({:.1} minutes so far)", crate::minutes());
    }
}
