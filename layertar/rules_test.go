//go:build !vm

package layertar

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEachRowHasACase does not run in the lab, which has no documents. It compares the rows of decision 9 with the cases that do.
func TestEachRowHasACase(t *testing.T) {
	find := func(pattern string, files ...string) (ids []string) {
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(raw), -1) {
				ids = append(ids, m[1])
			}
		}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	rows := find(`(?m)^\| ([A-Z]\d+) \|`, filepath.Join("..", "docs", "decisions", "0009-layer-tar-rules.md"))
	cases := find(`(?:id: "|checks row )([A-Z]\d+)`, "rules_cases_vm_test.go", "rules_vm_test.go")
	if diff := cmp.Diff(rows, cases); diff != "" || len(rows) == 0 {
		t.Errorf("%d rows (-rows of the decision +cases):\n%s", len(rows), diff)
	}
}
