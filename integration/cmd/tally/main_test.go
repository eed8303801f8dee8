package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	tests := map[string]struct {
		events string
		want   string
		good   bool
	}{
		"all kinds": {
			`{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"x"}
{"Action":"fail","Package":"p","Test":"B"}
{"Action":"skip","Package":"p","Test":"C"}
{"Action":"fail","Package":"p"}`, "1 passed, 1 failed, 1 skipped", false,
		},
		"a package that does not build": {`{"Action":"pass","Package":"p","Test":"A"}
{"Action":"fail","Package":"q"}`, "1 passed, 1 failed, 0 skipped", false},
		"nothing ran": {`{"Action":"skip","Package":"p"}`, "0 passed, 0 failed, 0 skipped", false},
		"good":        {`{"Action":"pass","Package":"p","Test":"A"}` + "\n" + `{"Action":"pass","Package":"p"}`, "1 passed, 0 failed, 0 skipped", true},
	}
	for name, tt := range tests {
		var sum tally
		if err := sum.add(strings.NewReader(tt.events)); err != nil {
			t.Fatal(err)
		}
		if sum.String() != tt.want || sum.good() != tt.good {
			t.Errorf("%s: %s, good %v", name, sum, sum.good())
		}
	}
}

func TestFailuresNameTheirRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "potato-vm.json")
	if err := os.WriteFile(file, []byte(`{"Action":"fail","Package":"p","Test":"A"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var sum tally
	if err := sum.addFile(file); err != nil || !slices.Equal(sum.failures, []string{"potato-vm p A"}) {
		t.Errorf("%q, %v", sum.failures, err)
	}
}

func TestTheTableSaysWhatRanWhere(t *testing.T) {
	base := filepath.Join(t.TempDir(), "uml-trixie-vm")
	files := map[string]string{
		".json":    `{"Action":"pass","Package":"p","Test":"A"}` + "\n" + `{"Action":"skip","Package":"p","Test":"B"}`,
		".seconds": "312\n",
		".machines": `{"machine":"uml","suite":"trixie","kernel":"7.2.12","openzfs":"2.4.4-1","engines":["docker.io=26.1.5+dfsg1-9","containerd=1.7.24~ds1-6"]}
{"machine":"uml","suite":"trixie","kernel":"7.2.12","openzfs":"2.4.4-1","engines":[]}
`,
	}
	for ending, text := range files {
		if err := os.WriteFile(base+ending, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var sum tally
	if err := sum.addFile(base + ".json"); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := printRows(&table, sum.rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(table.String(), "\n")
	want := "uml-trixie-vm uml 7.2.12 2.4.4-1 docker.io 26.1.5 containerd 1.7.24 312 1 0 1"
	if got := strings.Join(strings.Fields(lines[1]), " "); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
