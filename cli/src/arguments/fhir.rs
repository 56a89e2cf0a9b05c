//! FHIR resources in files: converting and validating.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Fhir {
    /// Write resources as XML or JSON; nothing is lost on the way
    Convert(FhirConvert),
    /// Say everything that is wrong with resources, by R4, the DSF base profiles and profiles of your own
    Validate(FhirValidate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FhirFormat {
    Xml,
    Json,
}

/// Reads XML and JSON by their content, whatever the names of files say. One resource goes to standard output; several
/// need --output, where they keep their names and folders. Nothing that exists is overwritten.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse fhir convert task.xml                          as JSON on standard output\n  schleuse fhir convert resources --to xml --output out   every file of a folder\n  cat task.json | schleuse fhir convert --pretty          from standard input"
)]
pub(crate) struct FhirConvert {
    /// Files or folders; `-` or nothing is standard input
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) sources: Vec<PathBuf>,
    /// What to write [default: XML of JSON, JSON of XML]
    #[arg(long, value_enum)]
    pub(crate) to: Option<FhirFormat>,
    /// With line breaks and indentation
    #[arg(long)]
    pub(crate) pretty: bool,
    /// Folder to write to
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

/// Validates as the endpoint of a node does before it stores a resource: by the structure of R4 and by every profile that
/// the resource names. Known are the DSF base resources and what is in the folders of --profiles. Where references lead and
/// what the allow-list permits is a matter of a running node.
///
/// Exit code 0: no errors (warnings may be listed); 1: errors.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse fhir validate task.xml --profiles my-process/fhir\n  schleuse fhir validate my-process/fhir --profiles my-process/fhir --set version=1.0 --set date=2026-01-01\n  schleuse fhir validate patient.json --profile http://example.org/fhir/StructureDefinition/patient --outcome"
)]
pub(crate) struct FhirValidate {
    /// Files or folders; `-` or nothing is standard input
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) sources: Vec<PathBuf>,
    /// Folder with StructureDefinitions, ValueSets, CodeSystems and Questionnaires to validate by; may be repeated
    #[arg(long, value_name = "FOLDER")]
    pub(crate) profiles: Vec<PathBuf>,
    /// Validate by this profile as well, whether or not a resource names it; may be repeated
    #[arg(long, value_name = "CANONICAL")]
    pub(crate) profile: Vec<String>,
    /// Replace the placeholder #{NAME} of process plug-ins before reading; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Answer with FHIR: an OperationOutcome, or a Bundle of one for each resource
    #[arg(long)]
    pub(crate) outcome: bool,
}
