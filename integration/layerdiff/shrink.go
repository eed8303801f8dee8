package layerdiff

import (
	"context"
	"slices"
)

// Checker says what is wrong with a stack, or nothing. The error is the checker's own.
type Checker interface {
	Check(ctx context.Context, s Stack) (found []string, err error)
}

// Shrink makes a failing stack small: it leaves out layers and entries as long as it fails.
func Shrink(ctx context.Context, c Checker, s Stack) (Stack, error) {
	for {
		smaller, err := shrinkOnce(ctx, c, s)
		if err != nil || smaller == nil {
			return s, err
		}
		s = smaller
	}
}

// shrinkOnce returns a failing stack without one layer or entry, or nil.
func shrinkOnce(ctx context.Context, c Checker, s Stack) (Stack, error) {
	for _, smaller := range listSmaller(s) {
		found, err := c.Check(ctx, smaller)
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
