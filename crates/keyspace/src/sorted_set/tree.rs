//! A counted B+tree: the order of a large sorted set.
//!
//! ```text
//! inner   [first item, count, node] × 2..32      count: items below the child
//! leaf    [score, slot] × 1..64                  slot: the member's block, owned elsewhere
//! ```
//!
//! Places are ranks. What is asked for by score or member is first turned into a rank by
//! [`Tree::partition_point`], one way down; from a rank, counts lead to the item. Deliberately without an order of its
//! own: comparisons arrive as closures, and a tree never looks behind a slot.
//!
//! Nodes grow by a few places at a time instead of being allocated whole, so that an item takes a tenth more than its
//! 16 bytes however it came in. A node that is full and takes an item at its end leaves the others where they are:
//! members that come in order fill their nodes. Neighbours are joined when one is nearly empty and both fit one node
//! with room to spare; unlike in a textbook B-tree that is all, which bounds the waste and never splits what was just
//! joined.
//!
//! Invariants: `first` is the first item below its child, so it names a live block; no node but an empty root is
//! empty; `bytes` sums the capacities of all nodes.

use super::Direction;
use std::ops::Range;

const LEAF_COUNT_MAX: usize = 64;
const INNER_COUNT_MAX: usize = 32;
/// Places by which a node grows.
const LEAF_STEP: usize = 8;
const INNER_STEP: usize = 4;

/// An item: a score, and a number that means something to the owner of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub score: f64,
    pub slot: u64,
}

struct Child {
    first: Item,
    count: usize,
    node: Node,
}

enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

/// See the module's text.
pub(super) struct Tree {
    root: Node,
    bytes: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Tree { root: Node::Leaf(Vec::new()), bytes: 0 }
    }
}

impl Tree {
    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many items of the front `is_before` holds for.
    #[inline]
    pub fn partition_point(&self, is_before: impl Fn(&Item) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&is_before),
                Node::Inner(children) => {
                    let at = children.partition_point(|child| is_before(&child.first));
                    let Some((last, before)) = children[..at].split_last() else { return rank };
                    rank += before.iter().map(|child| child.count).sum::<usize>();
                    node = &last.node;
                }
            }
        }
    }

    /// Puts an item behind those that `is_before` holds for.
    pub fn insert(&mut self, item: Item, is_before: impl Fn(&Item) -> bool) {
        if let Some(right) = self.root.insert(item, &is_before, &mut self.bytes) {
            let mut children = with_room(2, INNER_STEP, &mut self.bytes);
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            children.extend([Child::of(left), Child::of(right)]);
            self.root = Node::Inner(children);
        }
    }

    /// Takes out the item with this rank, which must exist.
    pub fn remove_at(&mut self, rank: usize) -> Item {
        let item = self.root.remove_at(rank, &mut self.bytes);
        while let Node::Inner(children) = &mut self.root
            && children.len() == 1
        {
            let child = children.pop().expect("one was counted");
            discount(children, &mut self.bytes);
            self.root = child.node;
        }
        item
    }

    /// Gives the item with this rank another score, if `is_between` its neighbours and both are in its leaf; else
    /// changes nothing. Says whether it did.
    #[must_use]
    pub fn rescore_at(&mut self, rank: usize, score: f64, is_between: impl Fn(&Item, &Item) -> bool) -> bool {
        let (mut node, mut rank) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => {
                    let fits = 0 < rank && rank + 1 < items.len() && is_between(&items[rank - 1], &items[rank + 1]);
                    if fits {
                        items[rank].score = score;
                    }
                    return fits;
                }
                Node::Inner(children) => {
                    let (at, below) = locate(children, rank);
                    (node, rank) = (&mut children[at].node, below);
                }
            }
        }
    }

    /// The leaf that holds the item with this rank, which must exist, and where.
    #[inline]
    fn leaf_at(&self, rank: usize) -> (&[Item], usize) {
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => return (items, rank),
                Node::Inner(children) => {
                    let (at, below) = locate(children, rank);
                    (node, rank) = (&children[at].node, below);
                }
            }
        }
    }

    /// The item with this rank, which must exist.
    pub fn at(&self, rank: usize) -> Item {
        let (leaf, at) = self.leaf_at(rank);
        leaf[at]
    }

    /// The items with these ranks, which must exist.
    pub fn walk(&self, ranks: Range<usize>, direction: Direction) -> Walk<'_> {
        Walk { tree: self, ranks, direction, leaf: &[] }
    }
}

/// Items from rank to rank: down the tree once for each leaf.
pub(super) struct Walk<'t> {
    tree: &'t Tree,
    ranks: Range<usize>,
    direction: Direction,
    /// What is left of the leaf in hand.
    leaf: &'t [Item],
}

impl Iterator for Walk<'_> {
    type Item = Item;

    #[inline]
    fn next(&mut self) -> Option<Item> {
        if self.ranks.is_empty() {
            return None;
        }
        match self.direction {
            Direction::Ascending => {
                if self.leaf.is_empty() {
                    let (leaf, at) = self.tree.leaf_at(self.ranks.start);
                    self.leaf = &leaf[at..];
                }
                self.ranks.start += 1;
                self.leaf.split_off_first().copied()
            }
            Direction::Descending => {
                if self.leaf.is_empty() {
                    let (leaf, at) = self.tree.leaf_at(self.ranks.end - 1);
                    self.leaf = &leaf[..=at];
                }
                self.ranks.end -= 1;
                self.leaf.split_off_last().copied()
            }
        }
    }
}

/// The child below which the item with this rank is, and the item's rank there.
#[inline]
fn locate(children: &[Child], rank: usize) -> (usize, usize) {
    let mut below = rank;
    for (at, child) in children.iter().enumerate() {
        if below < child.count {
            return (at, below);
        }
        below -= child.count;
    }
    unreachable!("the caller knows the rank to exist")
}

impl Child {
    fn of(node: Node) -> Child {
        Child { first: node.first().expect("only a root may be empty"), count: node.item_count(), node }
    }
}

impl Node {
    fn first(&self) -> Option<Item> {
        match self {
            Node::Leaf(items) => items.first().copied(),
            Node::Inner(children) => children.first().map(|child| child.first),
        }
    }

    fn item_count(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// Returns the new right neighbour when the node was full.
    fn insert(&mut self, item: Item, is_before: &impl Fn(&Item) -> bool, bytes: &mut usize) -> Option<Node> {
        match self {
            Node::Leaf(items) => {
                let at = items.partition_point(is_before);
                insert_at(items, at, item, LEAF_COUNT_MAX, LEAF_STEP, bytes).map(Node::Leaf)
            }
            Node::Inner(children) => {
                let at = children.partition_point(|child| is_before(&child.first)).saturating_sub(1);
                let child = &mut children[at];
                let right = child.node.insert(item, is_before, bytes).map(Child::of);
                child.first = child.node.first().expect("an item was just put there");
                child.count += 1;
                let right = right?;
                child.count -= right.count;
                insert_at(children, at + 1, right, INNER_COUNT_MAX, INNER_STEP, bytes).map(Node::Inner)
            }
        }
    }

    fn remove_at(&mut self, rank: usize, bytes: &mut usize) -> Item {
        match self {
            Node::Leaf(items) => {
                let item = items.remove(rank);
                trim(items, LEAF_STEP, bytes);
                item
            }
            Node::Inner(children) => {
                let (at, below) = locate(children, rank);
                let child = &mut children[at];
                let item = child.node.remove_at(below, bytes);
                child.count -= 1;
                match child.node.first() {
                    Some(first) => {
                        child.first = first;
                        join_neighbours(children, at, bytes);
                    }
                    None => drop(children.remove(at).node.discounted(bytes)),
                }
                trim(children, INNER_STEP, bytes);
                item
            }
        }
    }

    /// Whether the node is nearly empty.
    fn is_sparse(&self) -> bool {
        match self {
            Node::Leaf(items) => items.len() < LEAF_COUNT_MAX / 4,
            Node::Inner(children) => children.len() < INNER_COUNT_MAX / 4,
        }
    }

    /// Whether the node and `other` fit one node with room to spare.
    fn fits_with(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Leaf(one), Node::Leaf(other)) => one.len() + other.len() <= LEAF_COUNT_MAX / 4 * 3,
            (Node::Inner(one), Node::Inner(other)) => one.len() + other.len() <= INNER_COUNT_MAX / 4 * 3,
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    /// Takes the node's own memory out of the account before it is dropped.
    fn discounted(self, bytes: &mut usize) -> Node {
        match &self {
            Node::Leaf(items) => discount(items, bytes),
            Node::Inner(children) => discount(children, bytes),
        }
        self
    }

    fn append(&mut self, right: Node, bytes: &mut usize) {
        match (self, right) {
            (Node::Leaf(items), Node::Leaf(right)) => append(items, right, LEAF_STEP, bytes),
            (Node::Inner(children), Node::Inner(right)) => append(children, right, INNER_STEP, bytes),
            _ => unreachable!("all leaves are equally deep"),
        }
    }
}

/// Joins child `at` with a neighbour when that is worth it.
fn join_neighbours(children: &mut Vec<Child>, at: usize, bytes: &mut usize) {
    if !children[at].node.is_sparse() {
        return;
    }
    let pairs = [at.checked_sub(1), Some(at)].into_iter().flatten();
    let fits = |left: &usize| left + 1 < children.len() && children[*left].node.fits_with(&children[left + 1].node);
    let Some(left) = pairs.into_iter().find(fits) else { return };
    let right = children.remove(left + 1);
    children[left].count += right.count;
    children[left].node.append(right.node, bytes);
}

fn with_room<T>(count: usize, step: usize, bytes: &mut usize) -> Vec<T> {
    let made = Vec::with_capacity(count.next_multiple_of(step));
    *bytes += made.capacity() * size_of::<T>();
    made
}

fn discount<T>(items: &Vec<T>, bytes: &mut usize) {
    *bytes -= items.capacity() * size_of::<T>();
}

/// Makes room for `more` items, in steps.
fn reserve<T>(items: &mut Vec<T>, more: usize, step: usize, bytes: &mut usize) {
    let wanted = items.len() + more;
    if items.capacity() < wanted {
        discount(items, bytes);
        items.reserve_exact(wanted.next_multiple_of(step) - items.len());
        *bytes += items.capacity() * size_of::<T>();
    }
}

/// Gives back room that is not needed soon.
fn trim<T>(items: &mut Vec<T>, step: usize, bytes: &mut usize) {
    if items.len() + 2 * step <= items.capacity() {
        discount(items, bytes);
        items.shrink_to(items.len().next_multiple_of(step));
        *bytes += items.capacity() * size_of::<T>();
    }
}

fn append<T>(items: &mut Vec<T>, mut right: Vec<T>, step: usize, bytes: &mut usize) {
    reserve(items, right.len(), step, bytes);
    items.append(&mut right);
    discount(&right, bytes);
}

/// Inserts into a node of at most `max`; returns its new right neighbour when it was full.
fn insert_at<T>(items: &mut Vec<T>, at: usize, item: T, max: usize, step: usize, bytes: &mut usize) -> Option<Vec<T>> {
    if items.len() < max {
        reserve(items, 1, step, bytes);
        items.insert(at, item);
        return None;
    }
    // What is added at the end was probably added in order, and so will be the next.
    let cut = if at == items.len() { at } else { items.len() / 2 };
    let mut right = with_room(items.len() - cut + 1, step, bytes);
    right.extend(items.drain(cut..));
    if at < cut {
        items.insert(at, item);
    } else {
        right.insert(at - cut, item);
    }
    trim(items, step, bytes);
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Checks the invariants below `node` and returns its depth, its items and its bytes.
    fn check(node: &Node) -> (usize, usize, usize) {
        match node {
            Node::Leaf(items) => {
                assert!(items.len() <= LEAF_COUNT_MAX);
                assert!(items.windows(2).all(|pair| pair[0].score < pair[1].score));
                (0, items.len(), items.capacity() * size_of::<Item>())
            }
            Node::Inner(children) => {
                assert!((1..=INNER_COUNT_MAX).contains(&children.len()));
                let mut total = (0, 0, children.capacity() * size_of::<Child>());
                for (index, child) in children.iter().enumerate() {
                    let (depth, count, bytes) = check(&child.node);
                    assert!(0 < count, "a child must not be empty");
                    assert_eq!(count, child.count);
                    assert_eq!(child.node.first().map(|item| item.slot), Some(child.first.slot));
                    assert!(index == 0 || depth + 1 == total.0, "all leaves are equally deep");
                    total = (depth + 1, total.1 + count, total.2 + bytes);
                }
                total
            }
        }
    }

    fn check_tree(tree: &Tree, model: &[u64]) {
        let (_, count, bytes) = check(&tree.root);
        assert_eq!((count, bytes), (model.len(), tree.bytes()));
        if let Node::Inner(children) = &tree.root {
            assert!(1 < children.len(), "a root with one child is in vain");
        }
        let slots = |direction| tree.walk(0..model.len(), direction).map(|item| item.slot).collect::<Vec<_>>();
        assert_eq!(slots(Direction::Ascending), model);
        assert!(slots(Direction::Descending).iter().rev().eq(model));
    }

    fn insert(tree: &mut Tree, number: u64) {
        tree.insert(Item { score: number as f64, slot: number }, |item| item.slot < number);
    }

    #[test]
    fn random_insertions_and_removals_agree_with_a_sorted_vector() {
        for (seed, removals_of_ten) in [(1u64, 0), (2, 3), (3, 5), (4, 6), (5, 9)] {
            let (mut state, mut tree, mut model) = (seed, Tree::default(), Vec::<u64>::new());
            for round in 0..12_000u64 {
                // Waves, so that the tree also empties.
                let removes = random(&mut state) % 10 < removals_of_ten || (round / 4_000 == 1 && round % 4 != 0);
                if removes && !model.is_empty() {
                    let rank = random(&mut state) as usize % model.len();
                    assert_eq!(tree.remove_at(rank).slot, model.remove(rank));
                } else {
                    let number = random(&mut state) % 1_000_000;
                    if let Err(rank) = model.binary_search(&number) {
                        insert(&mut tree, number);
                        model.insert(rank, number);
                        assert_eq!(tree.partition_point(|item| item.slot < number), rank);
                        assert_eq!(tree.at(rank).slot, number);
                    }
                }
                if round % 500 == 0 {
                    check_tree(&tree, &model);
                }
            }
            while !model.is_empty() {
                let rank = random(&mut state) as usize % model.len();
                assert_eq!(tree.remove_at(rank).slot, model.remove(rank));
                if model.len() % 100 == 0 {
                    check_tree(&tree, &model);
                }
            }
            check_tree(&tree, &[]);
        }
    }

    #[test]
    fn items_that_come_in_order_fill_their_leaves_and_others_nearly_do() {
        const COUNT: u64 = 50_000;
        let per_item = |tree: &Tree| tree.bytes() as f64 / COUNT as f64;
        let mut ascending = Tree::default();
        (0..COUNT).for_each(|number| insert(&mut ascending, number));
        assert!(per_item(&ascending) < 17.0, "{}", per_item(&ascending));
        let mut shuffled = Tree::default();
        (0..COUNT).for_each(|number| insert(&mut shuffled, number * 48_271 % 50_021));
        assert!(per_item(&shuffled) < 20.0, "{}", per_item(&shuffled));
    }

    #[test]
    fn an_item_is_rescored_in_place_only_between_neighbours() {
        let mut tree = Tree::default();
        (0..1_000).for_each(|number| insert(&mut tree, number));
        assert!(tree.rescore_at(500, 499.5, |before, after| before.score < 499.5 && 499.5 < after.score));
        assert_eq!(tree.at(500).score, 499.5);
        assert!(!tree.rescore_at(500, 7.0, |before, after| before.score < 7.0 && 7.0 < after.score));
        assert!(!tree.rescore_at(0, -1.0, |_, _| true), "the first of a leaf may be somebody's first item");
        assert_eq!(tree.at(500).score, 499.5);
    }

    #[test]
    fn a_walk_gives_the_ranks_it_was_asked_for() {
        let mut tree = Tree::default();
        (0..300).for_each(|number| insert(&mut tree, number));
        for ranks in [0..0, 0..1, 5..70, 63..65, 100..300, 299..300] {
            let forth: Vec<u64> = tree.walk(ranks.clone(), Direction::Ascending).map(|item| item.slot).collect();
            let back: Vec<u64> = tree.walk(ranks.clone(), Direction::Descending).map(|item| item.slot).collect();
            assert!(forth.iter().map(|slot| *slot as usize).eq(ranks));
            assert!(back.iter().rev().eq(&forth));
        }
    }
}
