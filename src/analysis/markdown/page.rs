//! What stands on a page.

use super::super::results::{
    Analysis, ChildSummary, DirectoryAnalysis, FileAnalysis, FileKind, Interface, InterfaceKind, ProjectAnalysis,
    UnitKind,
};
use super::super::walk::GENERATED_MARK;
use super::Places;
use super::words::{code, line, paragraphs};

/// Every page with its place.
pub(super) fn pages(analysis: &Analysis, places: &Places) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut add = |path: &str, page: Page<'_>| {
        if let Some(place) = places.place(path) {
            pages.push((place.to_owned(), page.text));
        }
    };
    add(&analysis.path, front(analysis, places));
    for directory in analysis.directories.iter().filter(|directory| directory.path != analysis.path) {
        let mut page = Page::new(&directory.path, places);
        page.directory(directory, 1);
        add(&directory.path, page);
    }
    for file in &analysis.files {
        let mut page = Page::new(&file.path, places);
        page.file(file);
        add(&file.path, page);
    }
    pages
}

fn front<'a>(analysis: &'a Analysis, places: &'a Places) -> Page<'a> {
    let mut page = Page::new(&analysis.path, places);
    if let Some(project) = &analysis.project {
        page.project(project);
    }
    match analysis.top() {
        Some(top) => page.directory(top, if analysis.project.is_some() { 2 } else { 1 }),
        // It failed; the pages below it are reached all the same.
        None => page.list("Files", analysis.files.iter().map(|file| page.linked(&file.path)).collect()),
    }
    let failed = analysis.failed.iter().map(|failed| format!("{}: {}", code(&failed.path), line(&failed.message)));
    page.list("⚠️ Failed", failed.collect());
    let skipped = analysis.skipped.iter().map(|skipped| format!("{}: {}", code(&skipped.path), line(&skipped.message)));
    page.list("🚫 Skipped", skipped.collect());
    page
}

/// One page under way.
struct Page<'a> {
    path: &'a str,
    places: &'a Places,
    text: String,
}

impl<'a> Page<'a> {
    fn new(path: &'a str, places: &'a Places) -> Self {
        Self { path, places, text: format!("{GENERATED_MARK}\n") }
    }

    fn project(&mut self, project: &ProjectAnalysis) {
        let ProjectAnalysis { overview, architecture, core_technologies, main_interfaces, risks } = project;
        self.block("# 📦 Project");
        self.section("Overview", overview);
        self.section("🏗️ Architecture", architecture);
        self.list("🧰 Core Technologies", core_technologies.iter().map(|each| line(each)).collect());
        self.interfaces("🔌 Main Interfaces", main_interfaces);
        self.list("⚠️ Risks", risks.iter().map(|each| line(each)).collect());
    }

    fn directory(&mut self, directory: &DirectoryAnalysis, level: usize) {
        let DirectoryAnalysis {
            path,
            depth,
            summary,
            key_components,
            child_summaries,
            external_dependencies,
            public_interfaces,
        } = directory;
        let shown = if path == "." { "./".to_owned() } else { format!("./{path}") };
        self.block(&format!("{} 📁 Directory: {}", "#".repeat(level), code(&shown)));
        self.up();
        self.block(&format!("**Depth Level:** {depth}"));
        self.section("Summary", summary);
        let components =
            key_components.iter().map(|each| format!("**{}** - {}", line(&each.name), line(&each.description)));
        self.list("🎯 Key Components", components.collect());
        let children: Vec<_> = child_summaries.iter().map(|child| self.child(child)).collect();
        self.numbered("📋 Child Summaries", &children);
        self.list("📚 External Dependencies", external_dependencies.iter().map(|name| code(name)).collect());
        self.interfaces("🔌 Public Interfaces", public_interfaces);
    }

    fn file(&mut self, file: &FileAnalysis) {
        let FileAnalysis { path, kind, summary, external_dependencies, public_interfaces } = file;
        self.block(&format!("# 📄 File: {}", code(&format!("./{path}"))));
        self.up();
        self.block(&format!("**Type:** {}", type_of(*kind)));
        self.section("Summary", summary);
        self.list("📚 External Dependencies", external_dependencies.iter().map(|name| code(name)).collect());
        self.interfaces("🔌 Public Interfaces", public_interfaces);
    }

    /// The page of the folder it stands in, where there is one.
    fn up(&mut self) {
        let parent = super::super::tree::parent_of(self.path);
        if parent != self.path
            && let Some(link) = self.places.link(self.path, parent)
        {
            let shown = if parent == "." { "./".to_owned() } else { format!("./{parent}") };
            self.block(&format!("In [{}]({link})", code(&shown)));
        }
    }

    fn child(&self, child: &ChildSummary) -> String {
        let icon = if child.kind == UnitKind::Directory { "📁 " } else { "" };
        format!("{icon}{}: {}", self.linked(&child.path), line(&child.summary))
    }

    /// A name that leads to its page.
    fn linked(&self, path: &str) -> String {
        let name = path.strip_prefix(self.path).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
        match self.places.link(self.path, path) {
            Some(link) => format!("[{}]({link})", code(name)),
            None => code(name),
        }
    }

    fn section(&mut self, title: &str, text: &str) {
        self.block(&format!("## {title}"));
        self.block(&paragraphs(text));
    }

    fn interfaces(&mut self, title: &str, interfaces: &[Interface]) {
        let each = |interface: &Interface| {
            format!("**{}** (`{}`)  \n  {}", line(&interface.name), label(interface.kind), line(&interface.description))
        };
        self.list(title, interfaces.iter().map(each).collect());
    }

    /// Nothing at all when it is empty.
    fn list(&mut self, title: &str, items: Vec<String>) {
        if !items.is_empty() {
            self.block(&format!("## {title}"));
            self.block(&items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n"));
        }
    }

    fn numbered(&mut self, title: &str, items: &[String]) {
        if !items.is_empty() {
            self.block(&format!("## {title}"));
            let items = items.iter().zip(1..).map(|(item, number)| format!("{number}. {item}"));
            self.block(&items.collect::<Vec<_>>().join("\n"));
        }
    }

    fn block(&mut self, text: &str) {
        self.text.push('\n');
        self.text.push_str(text);
        self.text.push('\n');
    }
}

fn label(kind: InterfaceKind) -> &'static str {
    match kind {
        InterfaceKind::Function => "🔧 Function",
        InterfaceKind::Struct => "📦 Struct",
        InterfaceKind::Trait => "🎯 Trait",
        InterfaceKind::Module => "🧩 Module",
        InterfaceKind::Api => "🌐 API",
        InterfaceKind::Configuration => "⚙️ Configuration",
        InterfaceKind::DataModel => "🗄️ Data Model",
    }
}

fn type_of(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Source => "Source",
        FileKind::Test => "Test",
        FileKind::Configuration => "Configuration",
        FileKind::Documentation => "Documentation",
        FileKind::Build => "Build",
        FileKind::Schema => "Schema",
        FileKind::Data => "Data",
        FileKind::Other => "Other",
    }
}
