use std::collections::HashMap;

use super::*;

/// Enough for six levels and all forms of their right edges.
const LARGEST: u64 = 70;

struct Kept(HashMap<Node, Hash>);

impl Nodes for Kept {
    type Error = String;

    fn hash(&self, node: Node) -> Result<Hash, String> {
        self.0.get(&node).copied().ok_or_else(|| format!("{node:?} was never completed"))
    }
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|number| leaf(&number.to_be_bytes())).collect()
}

fn grown(size: u64) -> Kept {
    let mut kept = Kept(HashMap::new());
    let mut frontier = Frontier::of(&kept, 0).unwrap();
    for (number, leaf) in (0..).zip(leaves(size)) {
        for (node, hash) in frontier.push(leaf) {
            assert_eq!(kept.0.insert(node, hash), None, "{node:?} changed");
        }
        assert_eq!(frontier, Frontier::of(&kept, number + 1).unwrap());
        assert_eq!(frontier.root(), root(&kept, number + 1).unwrap());
    }
    kept
}

/// The root as RFC 6962 defines it.
fn by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => hash(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            inner(&by_definition(left), &by_definition(right))
        }
    }
}

/// Every proof with one bit changed, one hash left out, doubled or added.
fn changed(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for place in 0..proof.len() {
        let (mut flipped, mut shorter, mut longer) = (proof.to_vec(), proof.to_vec(), proof.to_vec());
        flipped[place][place % 32] ^= 1 << (place % 8);
        shorter.remove(place);
        longer.insert(place, proof[place]);
        all.extend([flipped, shorter, longer]);
    }
    all.push([proof, &[[0; 32]]].concat());
    all
}

#[test]
fn a_tree_that_grew_has_at_each_size_the_root_of_the_definition() {
    let (kept, leaves) = (grown(LARGEST), leaves(LARGEST));
    for size in 0..=LARGEST {
        assert_eq!(root(&kept, size).unwrap(), by_definition(&leaves[..size as usize]), "{size}");
    }
}

#[test]
fn each_entry_of_each_tree_is_proven_and_no_changed_proof_passes() {
    let (kept, leaves) = (grown(LARGEST), leaves(LARGEST));
    for size in 1..=LARGEST {
        let root = root(&kept, size).unwrap();
        for index in 0..size {
            let (proof, leaf) = (inclusion(&kept, index, size).unwrap(), &leaves[index as usize]);
            check_inclusion(leaf, index, size, &proof, &root).unwrap();
            let others = (0..size + 2).filter(|other| *other != index);
            for other in others {
                assert!(check_inclusion(leaf, other, size, &proof, &root).is_err(), "{index} of {size} as {other}");
            }
            for changed in changed(&proof) {
                assert!(check_inclusion(leaf, index, size, &changed, &root).is_err(), "{index} of {size}");
            }
        }
    }
}

#[test]
fn each_tree_continues_each_smaller_one_and_no_changed_proof_passes() {
    let kept = grown(LARGEST);
    for size in 0..=LARGEST {
        let now = root(&kept, size).unwrap();
        for earlier in 0..=size {
            let (before, proof) = (root(&kept, earlier).unwrap(), consistency(&kept, earlier, size).unwrap());
            check_consistency((earlier, &before), (size, &now), &proof).unwrap();
            let mut other = before;
            other[0] ^= 1;
            assert!(check_consistency((earlier, &other), (size, &now), &proof).is_err(), "{earlier} to {size}");
            assert!(check_consistency((size + 1, &before), (size, &now), &proof).is_err(), "{earlier} to {size}");
            for changed in changed(&proof) {
                let outcome = check_consistency((earlier, &before), (size, &now), &changed);
                assert!(outcome.is_err(), "{earlier} to {size}");
            }
        }
    }
}
