//! Writing `prototypes.bin`; its layout is told where it is read.

use super::{MAGIC, VERSION};
use crate::{bytes::StringTable, geo::LatLon, geocells::CellId};

/// Quantises one embedding to i8 with a scale of its own: the largest magnitude becomes 127.
fn quantise(embedding: &[f32], out: &mut Vec<u8>) -> f32 {
    let largest = embedding.iter().fold(0f32, |m, v| m.max(v.abs()));
    let scale = largest / 127.0;
    out.extend(embedding.iter().map(|v| if scale > 0.0 { (v / scale).round() as i8 as u8 } else { 0 }));
    scale
}

/// One cluster, to be written.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    /// The cell it lies in.
    pub cell: CellId,
    /// Mean embedding of the members.
    pub embedding: &'a [f32],
    /// Centroid of the members.
    pub position: LatLon,
    /// Name of the town there.
    pub place: &'a str,
    /// Mean distance of the members from the centroid, km.
    pub spread_km: f32,
    /// How many members the cluster has.
    pub members: u32,
    /// The members themselves, with their embeddings; empty for all clusters when they are not to be kept.
    pub member_rows: Vec<(LatLon, &'a [f32])>,
}

struct Record {
    cell: CellId,
    row: Vec<u8>,
    fields: [[u8; 4]; 6],
    members: Vec<u8>,
    member_rows: Vec<u8>,
    kept: u32,
}

/// Writes `prototypes.bin`; clusters may come in any order and keep it inside a cell.
pub struct PrototypesWriter {
    dims: usize,
    records: Vec<Record>,
    places: StringTable,
}

impl PrototypesWriter {
    /// A writer for embeddings of `dims` numbers.
    pub fn new(dims: usize) -> Self {
        PrototypesWriter { dims, records: Vec::new(), places: StringTable::default() }
    }

    /// Adds a cluster.
    ///
    /// # Panics
    /// When an embedding has another length than `dims`, or members are kept but not all of them.
    pub fn push(&mut self, cluster: &Cluster<'_>) {
        assert_eq!(cluster.embedding.len(), self.dims, "length of the embedding");
        let kept = cluster.member_rows.len() as u32;
        assert!(kept == 0 || kept == cluster.members, "{kept} of {} members", cluster.members);
        let mut row = Vec::with_capacity(self.dims);
        let scale = quantise(cluster.embedding, &mut row);
        let (mut members, mut member_rows) = (Vec::new(), Vec::new());
        for (at, embedding) in &cluster.member_rows {
            assert_eq!(embedding.len(), self.dims, "length of the embedding");
            let scale = quantise(embedding, &mut member_rows);
            for v in [at.lat() as f32, at.lon() as f32, scale] {
                members.extend(v.to_le_bytes());
            }
        }
        let place = self.places.number(cluster.place);
        let fields = [
            (cluster.position.lat() as f32).to_le_bytes(),
            (cluster.position.lon() as f32).to_le_bytes(),
            scale.to_le_bytes(),
            cluster.spread_km.to_le_bytes(),
            place.to_le_bytes(),
            cluster.members.to_le_bytes(),
        ];
        self.records.push(Record { cell: cluster.cell, row, fields, members, member_rows, kept });
    }

    /// The bytes of `prototypes.bin` for a model of `cells` cells.
    ///
    /// # Panics
    /// When a cluster's cell is not among them, or some clusters came with members and some without.
    pub fn encode(mut self, cells: usize) -> Vec<u8> {
        self.records.sort_by_key(|r| r.cell);
        let kept = self.records.iter().filter(|r| r.kept > 0).count();
        assert!(kept == 0 || kept == self.records.len(), "members are kept for all clusters or for none");
        let members: u32 = self.records.iter().map(|r| r.kept).sum();
        let mut offsets = vec![0u32; cells + 1];
        for r in &self.records {
            assert!(r.cell.index() < cells, "cell {} of {cells}", r.cell.0);
            offsets[r.cell.index() + 1] += 1;
        }
        (0..cells).for_each(|c| offsets[c + 1] += offsets[c]);

        let mut out = MAGIC.to_vec();
        for n in [VERSION, self.dims as u32, cells as u32, self.records.len() as u32, members] {
            out.extend(n.to_le_bytes());
        }
        offsets.iter().for_each(|n| out.extend(n.to_le_bytes()));
        let mut first = 0u32;
        for r in &self.records {
            r.fields.iter().for_each(|f| out.extend(f));
            out.extend(first.to_le_bytes());
            first += r.kept;
        }
        self.records.iter().for_each(|r| out.extend(&r.row));
        self.records.iter().for_each(|r| out.extend(&r.members));
        self.records.iter().for_each(|r| out.extend(&r.member_rows));
        let rows = (self.records.len() + members as usize) * self.dims;
        out.resize(out.len() + rows.next_multiple_of(4) - rows, 0);
        out.extend(self.places.encode());
        out
    }
}
