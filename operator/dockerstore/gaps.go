package dockerstore

import (
	"cmp"
	"fmt"
	"slices"

	digest "github.com/opencontainers/go-digest"
)

// Gap is a record that refers to a missing one. Docker creates the latter first and
// removes it last, so records with a gap are incomplete.
type Gap struct {
	Record  string `json:"of"`    // the image, container or layer that refers to it
	Missing string `json:"lacks"` // what it counts on
}

// String names both.
func (g Gap) String() string { return g.Record + " lacks " + g.Missing }

// FindGap returns the gap of a record that needs these layers: the lowest one without a
// record, if any.
func (r *Records) FindGap(of string, chains ...digest.Digest) (Gap, bool) {
	for _, chain := range chains {
		if _, ok := r.Layers[chain]; !ok && chain != "" {
			return Gap{of, "the record of layer " + string(chain)}, true
		}
	}
	return Gap{}, false
}

// Gaps returns all gaps of the records.
func (r *Records) Gaps() []Gap {
	var gaps []Gap
	add := func(of string, chains ...digest.Digest) {
		if gap, ok := r.FindGap(of, chains...); ok {
			gaps = append(gaps, gap)
		}
	}
	for _, layer := range r.Layers {
		add("layer "+string(layer.Chain), layer.Parent)
	}
	for _, image := range r.Images {
		add("image "+string(image.ID), image.Chains...)
	}
	mounts := map[string]bool{}
	for _, m := range r.Mounts {
		mounts[m.Name] = true
		add("writable layer "+m.MountID, m.Parent)
	}
	for _, c := range r.Containers {
		if !mounts[c.ID] && !c.Dead {
			gaps = append(gaps, Gap{fmt.Sprintf("container %s (%s)", c.ID, c.Name), "the record of its writable layer"})
		}
	}
	slices.SortFunc(gaps, func(a, b Gap) int { return cmp.Or(cmp.Compare(a.Record, b.Record), cmp.Compare(a.Missing, b.Missing)) })
	return gaps
}
