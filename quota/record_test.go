package quota

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestARecordIsWhatWasSaved(t *testing.T) {
	r := records(t.TempDir())
	for key, want := range map[string]Record{
		"A": {Layer: "x", Mode: Dataset, Limits: Limits{Bytes: 1 << 20, Inodes: 17}, Properties: Properties{"sync": "always"}},
		"B": {Layer: "y", Mode: Project, Project: firstProject, Limits: Limits{Bytes: 5 << 20}},
	} {
		must(t, r.save(key, want))
		must(t, r.save(key, want)) // over it
		got, err := r.load(key)
		must(t, err)
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v, saved %+v", *got, want)
		}
		must(t, r.remove(key))
		must(t, r.remove(key))
		got, err = r.load(key)
		if got != nil || err != nil {
			t.Errorf("removed: %v, %v", got, err)
		}
	}
}

func TestLoadAllSkipsOtherFiles(t *testing.T) {
	r := records(t.TempDir())
	must(t, r.save("GOOD", Record{Mode: Dataset}))
	must(t, os.WriteFile(r.path("DAMAGED"), []byte("{"), 0o600))
	must(t, os.WriteFile(r.path("HALF"+newSuffix), []byte("{"), 0o600))
	all, err := r.loadAll()
	must(t, err)
	if len(all) != 2 || all["GOOD"] == nil || all["DAMAGED"] != nil {
		t.Errorf("all: %v", all)
	}
	if _, err := os.Stat(r.path("HALF" + newSuffix)); err != nil {
		t.Errorf("only a start may clean up: another may be writing it: %v", err)
	}
	must(t, r.removePartial())
	if _, err := os.Stat(r.path("HALF" + newSuffix)); err == nil {
		t.Error("not cleaned")
	}
	missing := records(filepath.Join(t.TempDir(), "none"))
	if _, err := missing.loadAll(); err == nil {
		t.Error("a missing directory has no records, and no error")
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	for raw, class := range map[string]error{
		"":                                  fault.Invalid,
		"null":                              fault.Unsupported,
		"[]":                                fault.Invalid,
		`{"mode":"dataset"} x`:              fault.Invalid,
		`{"mode":"dataset","bytes":-1}`:     fault.Invalid,
		`{"mode":"magic"}`:                  fault.Unsupported,
		`{"mode":"auto"}`:                   fault.Unsupported,
		`{"mode":"project"}`:                fault.Invalid,
		`{"mode":"project","project":1000}`: fault.Invalid,
	} {
		_, err := decodeRecord("/path", []byte(raw))
		wantError(t, err, class, "/path")
	}
}

// FuzzDecodeRecord makes sure that a decoded record could have been written by this version, and
// that it stays the same when it is written again.
func FuzzDecodeRecord(f *testing.F) {
	for _, seed := range []string{
		`{"layer":"x","mode":"dataset","bytes":1048576,"inodes":17,"properties":{"sync":"always"}}`,
		`{"layer":"y","mode":"project","project":1870266368,"bytes":1}`,
		`{"mode":"off"}`, `{`, `null`, `{"mode":"dataset","properties":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		record, err := decodeRecord("path", raw)
		if err != nil {
			return
		}
		if record.Mode != Dataset && (record.Mode != Project || !isOurProject(record.Project)) {
			t.Fatalf("accepted: %+v", record)
		}
		first, err := json.Marshal(record)
		must(t, err)
		again, err := decodeRecord("path", first)
		must(t, err)
		second, err := json.Marshal(again)
		must(t, err)
		if string(first) != string(second) {
			t.Errorf("%s became %s", first, second)
		}
	})
}
