use super::*;

#[test]
fn a_method_on_a_path_form_is_at_most_one_interaction() {
    for (index, row) in ROWS.iter().enumerate() {
        for other in &ROWS[index + 1..] {
            assert!((row.method, row.path) != (other.method, other.path), "{:?} {:?}", row.method, row.path);
        }
    }
}

#[test]
fn every_interaction_is_reachable_and_its_name_is_its_own() {
    for (number, interaction) in Interaction::ALL.iter().enumerate() {
        assert_eq!(*interaction as usize, number);
        assert!(ROWS.iter().any(|row| row.interaction == *interaction), "{interaction}");
        assert_eq!(interaction.as_str().parse(), Ok(*interaction));
        assert!(Interaction::covered_by(interaction.group()).any(|covered| covered == *interaction));
    }
}

#[test]
fn words_of_the_policy_cover_variants() {
    let covered = |word| Interaction::covered_by(word).map(Interaction::as_str).collect::<Vec<_>>();
    assert_eq!(covered("update"), ["update", "conditional-update"]);
    assert_eq!(covered("conditional-update"), ["conditional-update"]);
    assert_eq!(covered("history"), ["history-instance", "history-type", "history-system"]);
    assert_eq!(covered("*").len(), Interaction::ALL.len());
    assert!(covered("patch").is_empty());
}

#[test]
fn snapshot_exists_only_for_structure_definitions() {
    assert!(Interaction::Snapshot.applies_to(Some(ResourceType::StructureDefinition)));
    assert!(!Interaction::Snapshot.applies_to(Some(ResourceType::Task)));
    assert!(!Interaction::Snapshot.applies_to(None));
    assert!(Interaction::Metadata.applies_to(None));
    assert!(!Interaction::Metadata.applies_to(Some(ResourceType::Task)));
}
