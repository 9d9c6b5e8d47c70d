//! Builds the web UI and lists what the program embeds.
//!
//! Two tables are written into `OUT_DIR`: `ui.rs`, every file of the UI with its encodings (from the
//! manifest that `web/build.mjs` writes; needs Node, feature `ui`), and `content.rs`, every file under
//! `content/`. No bundle is committed and nothing but npm packages is downloaded.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the workspace's root is two folders up");
    let out = PathBuf::from(variable("OUT_DIR"));
    let ui =
        if env::var_os("CARGO_FEATURE_UI").is_some() { build_ui(&root, &out) } else { Vec::new() };
    fs::write(out.join("ui.rs"), ui_table(&ui)).expect("OUT_DIR is writable");
    fs::write(out.join("content.rs"), content_table(&root)).expect("OUT_DIR is writable");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

struct UiFile {
    path: String,
    content_type: String,
    etag: String,
    immutable: bool,
    file: PathBuf,
}

/// Copies `web/` aside, so that the source tree stays clean, and runs npm and the bundler there.
fn build_ui(root: &Path, out: &Path) -> Vec<UiFile> {
    let web = root.join("web");
    for watched in ["src", "build.mjs", "package.json", "package-lock.json", "tsconfig.json"] {
        println!("cargo:rerun-if-changed={}", web.join(watched).display());
    }
    let (work, dist) = (out.join("web"), out.join("dist"));
    let _ = fs::remove_dir_all(work.join("src"));
    copy(&web.join("src"), &work.join("src"));
    for name in ["build.mjs", "package.json", "tsconfig.json"] {
        fs::copy(web.join(name), work.join(name))
            .unwrap_or_else(|error| panic!("web/{name}: {error}"));
    }
    let lock = fs::read(web.join("package-lock.json")).expect("web/package-lock.json is committed");
    let installed = work.join("node_modules/.installed-for");
    if fs::read(&installed).ok().as_deref() != Some(&lock) {
        fs::write(work.join("package-lock.json"), &lock).expect("OUT_DIR is writable");
        run(
            &work,
            "npm",
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        );
        fs::write(&installed, &lock).expect("OUT_DIR is writable");
    }
    let dist_text = dist.display().to_string();
    run(&work, "node", &["build.mjs", "--out", &dist_text]);
    read_manifest(&dist)
}

fn read_manifest(dist: &Path) -> Vec<UiFile> {
    let text =
        fs::read_to_string(dist.join("manifest.json")).expect("build.mjs writes manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("manifest.json is JSON");
    let files = manifest["files"].as_array().expect("manifest.json lists files");
    files
        .iter()
        .map(|file| {
            let text = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
            UiFile {
                path: text("path"),
                content_type: text("content_type"),
                etag: text("etag"),
                immutable: file["immutable"].as_bool().unwrap_or(false),
                file: dist.join(text("path")),
            }
        })
        .collect()
}

fn ui_table(files: &[UiFile]) -> String {
    let mut table = String::from("pub(crate) static FILES: &[UiFile] = &[\n");
    for UiFile { path, content_type, etag, immutable, file } in files {
        let file = file.display();
        let _ = writeln!(
            table,
            "UiFile {{ path: {path:?}, content_type: {content_type:?}, etag: {etag:?}, immutable: {immutable}, \
             plain: include_bytes!(\"{file}\"), brotli: include_bytes!(\"{file}.br\"), gzip: include_bytes!(\"{file}.gz\") }},"
        );
    }
    table + "];\n"
}

fn content_table(root: &Path) -> String {
    let content = root.join("content");
    println!("cargo:rerun-if-changed={}", content.display());
    let mut files = Vec::new();
    walk(&content, &mut files);
    files.sort();
    let mut table = String::from("static FILES: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.strip_prefix(&content).expect("walked from there").display().to_string();
        println!("cargo:rerun-if-changed={}", file.display());
        let _ = writeln!(table, "({name:?}, include_str!(\"{}\")),", file.display());
    }
    table + "];\n"
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("OUT_DIR is writable");
    for entry in
        fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten()
    {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).expect("OUT_DIR is writable");
        }
    }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| {
        panic!("the web UI needs Node and npm ({program}: {error}): type `apt-get install nodejs npm`, or build with --no-default-features")
    });
    assert!(
        output.status.success(),
        "{program} {} failed:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
