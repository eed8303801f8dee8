package layerdiff

import (
	"context"
	"slices"
)

// Shrink makes a failing stack small: it leaves out layers and entries as long as it fails.
func (m *Machine) Shrink(ctx context.Context, s Stack) (Stack, error) {
	for {
		smaller, err := m.shrinkOnce(ctx, s)
		if err != nil || smaller == nil {
			return s, err
		}
		s = smaller
	}
}

// shrinkOnce returns a failing stack without one layer or entry, or nil.
func (m *Machine) shrinkOnce(ctx context.Context, s Stack) (Stack, error) {
	for _, smaller := range listSmaller(s) {
		found, err := m.Check(ctx, smaller)
		if err != nil || len(found) > 0 {
			return smaller, err
		}
	}
	return nil, nil
}

// listSmaller returns all stacks with a layer or an entry less.
func listSmaller(s Stack) (all []Stack) {
	for i := range s {
		if len(s) > 1 {
			all = append(all, slices.Delete(slices.Clone(s), i, i+1))
		}
	}
	for i, l := range s {
		for n := range l {
			smaller := slices.Clone(s)
			smaller[i] = slices.Delete(slices.Clone(l), n, n+1)
			all = append(all, smaller)
		}
	}
	return all
}
