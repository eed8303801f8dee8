package inguest

import (
	"strings"
	"testing"
)

// SpareLayer is what a dataset that was made beforehand has in the place of its layer's ID.
const SpareLayer = "(spare)"

// ListDatasets lists a dataset and everything below it. It leaves out the datasets that a
// driver makes beforehand, which come and go.
func ListDatasets(t testing.TB, dataset string) (names []string) {
	t.Helper()
	for line := range strings.Lines(Run(t, "zfs", "list", "-H", "-o", "name,overlayzfs:layer", "-t", "all", "-r", dataset)) {
		if name, layer, _ := strings.Cut(strings.TrimSpace(line), "\t"); layer != SpareLayer {
			names = append(names, name)
		}
	}
	return names
}
