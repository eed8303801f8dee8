package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// TestObstacles: a refusal with the store open does not claim that nothing was changed.
func TestObstacles(t *testing.T) {
	refused := gc.Plan{Obstacles: []string{"a reason"}}
	if err := checkObstacles(refused); exitCode(err) != exitRefused {
		t.Errorf("%v", err)
	}
	err := recheckObstacles(refused)
	if exitCode(err) != exitUnfinished || !strings.Contains(err.Error(), "a reason") || strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("%v", err)
	}
	if checkObstacles(gc.Plan{}) != nil || recheckObstacles(gc.Plan{}) != nil {
		t.Error("a plan without obstacles is refused")
	}
}

// TestNamesAreEscaped: anybody can choose the names of files in Docker's data-root.
func TestNamesAreEscaped(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"image/overlayzfs/layerdb/sha256/\x1b[2J", "image/\x1b[1m/imagedb"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	docker, err := dockerstore.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	records, err := docker.Read("overlayzfs")
	if err != nil || len(records.Damaged) != 1 {
		t.Fatalf("%+v, %v", records, err)
	}
	_, none := docker.Read("none")
	inv := inventory.Build("tank/docker", nil, inventory.FromDocker(records))
	plan := gc.Decide(inv, gc.Evidence{Root: root, Driver: "overlayzfs", Unreadable: []string{"\x1b[3m"}})
	var out bytes.Buffer
	writeWarnings(console{err: &out}, inv)
	err = errors.Join(writePlan(&out, plan), writeVerdict(&out, verdict{Warnings: inv.Warnings}, inv))
	if text := out.String() + none.Error(); err != nil || strings.Contains(text, "\x1b") || !strings.Contains(text, `\x1b[2J`) {
		t.Errorf("%v\n%s", err, text)
	}
}
