//! Which of our crates a layer may use, and what of the outside the inner layers may not (house §1).

use crate::tools::{cargo, root};
use std::collections::{BTreeMap, BTreeSet};

/// What reaches outside: runtimes, sockets, disks, clocks and chance. Nothing of it below `hosts/`, by whatever way.
const OUTSIDE: [&str; 14] = [
    "async-std",
    "axum",
    "fjall",
    "fs4",
    "getrandom",
    "hyper",
    "mio",
    "rand",
    "reqwest",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tracing-subscriber",
];

struct Manifest {
    layer: String,
    /// Of our own, by the table that names them.
    uses: BTreeMap<&'static str, BTreeSet<String>>,
}

pub fn check() -> Result<(), String> {
    eprintln!("── layers");
    let manifests = read()?;
    let mut wrong = wrong_edges(&manifests);
    for (name, manifest) in &manifests {
        if ["core", "runtime"].contains(&manifest.layer.as_str()) {
            let layer = &manifest.layer;
            wrong.extend(reached(name)?.into_iter().map(|outside| format!("{layer}/{name} reaches {outside}")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("arrows that point the wrong way: {}", wrong.join(", "))) }
}

fn read() -> Result<BTreeMap<String, Manifest>, String> {
    let mut manifests = BTreeMap::new();
    for layer in ["core", "runtime", "hosts", "testing"] {
        for entry in std::fs::read_dir(root().join(layer)).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let (name, manifest) = parse(layer, &text).map_err(|why| format!("{}: {why}", path.display()))?;
            manifests.insert(name, manifest);
        }
    }
    Ok(manifests)
}

fn parse(layer: &str, text: &str) -> Result<(String, Manifest), String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let name = name.ok_or("it has no package.name")?.to_owned();
    let uses = ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| {
        let listed = table.get(kind).and_then(toml::Value::as_table);
        (kind, listed.map(|listed| listed.keys().cloned().collect()).unwrap_or_default())
    });
    Ok((name, Manifest { layer: layer.to_owned(), uses: uses.into() }))
}

fn wrong_edges(manifests: &BTreeMap<String, Manifest>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, Manifest { layer, uses }) in manifests {
        for (kind, used) in uses.iter().flat_map(|(kind, used)| used.iter().map(move |used| (kind, used))) {
            let Some(Manifest { layer: used_layer, .. }) = manifests.get(used) else { continue };
            if !may_use((layer, name), (used_layer, used), kind) {
                wrong.push(format!("{layer}/{name} uses {used_layer}/{used} ({kind})"));
            }
        }
    }
    wrong
}

/// `hosts/http` opens the doors of `hosts/intake`; `hosts/sojourn` wires all; tests may be driven by the simulator.
fn may_use((layer, name): (&str, &str), (used_layer, used): (&str, &str), kind: &str) -> bool {
    match layer {
        "core" => used_layer == "core",
        "runtime" => used_layer == "core" || used_layer == "runtime" || (kind == "dev-dependencies" && used == "sim"),
        "testing" => used_layer == "core" || used_layer == "runtime",
        _ if used_layer == "hosts" => name == "sojourn" || (name == "http-api" && used == "intake"),
        _ => used_layer != "testing" || kind == "dev-dependencies",
    }
}

/// What of the outside a crate brings along, itself or by what it uses.
fn reached(name: &str) -> Result<Vec<&'static str>, String> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "-p", name, "-e", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = tree.output().map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree -p {name}: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let brought: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    Ok(OUTSIDE.into_iter().filter(|outside| brought.contains(outside)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests(given: &[(&str, &str, &str, &str)]) -> BTreeMap<String, Manifest> {
        let parsed = given.iter().map(|(layer, name, kind, used)| {
            parse(layer, &format!("[package]\nname = \"{name}\"\n[{kind}]\n{used}.workspace = true\n"))
        });
        parsed.map(|parsed| parsed.expect("a manifest")).collect()
    }

    #[test]
    fn an_arrow_that_points_the_wrong_way_is_found_in_every_table() {
        let given = manifests(&[
            ("core", "model", "build-dependencies", "processor"),
            ("core", "engine", "dependencies", "model"),
            ("runtime", "processor", "dev-dependencies", "sim"),
            ("runtime", "replay", "dependencies", "channels"),
            ("hosts", "channels", "dev-dependencies", "intake"),
            ("hosts", "http-api", "dependencies", "intake"),
            ("hosts", "intake", "dependencies", "engine"),
            ("hosts", "sojourn", "dependencies", "channels"),
            ("testing", "sim", "dependencies", "channels"),
        ]);
        assert_eq!(
            wrong_edges(&given),
            [
                "hosts/channels uses hosts/intake (dev-dependencies)",
                "core/model uses runtime/processor (build-dependencies)",
                "runtime/replay uses hosts/channels (dependencies)",
                "testing/sim uses hosts/channels (dependencies)",
            ]
        );
    }

    #[test]
    fn what_reaches_outside_is_found_behind_other_crates_too() {
        assert_eq!(reached("model"), Ok(vec![]));
        let reached = reached("channels").expect("a tree");
        assert!(reached.contains(&"tokio") && reached.contains(&"socket2"), "{reached:?}");
    }

    #[test]
    fn our_own_arrows_point_the_right_way() {
        assert_eq!(check(), Ok(()));
    }
}
