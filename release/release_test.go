//go:build release

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// TestRelease builds the release twice and compares the bytes. The second build is in
// another directory, with an empty cache and another time zone, from the sources alone.
func TestRelease(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	build(t, "..", first)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	copySources(t, "..", elsewhere)
	t.Setenv("GOCACHE", t.TempDir())
	t.Setenv("TZ", "Pacific/Auckland")
	t.Setenv("GOAMD64", "v3")
	build(t, elsewhere, second)
	sameFiles(t, first, second)

	t.Run("Checksums", func(t *testing.T) { checkSums(t, first) })
	t.Run("Programs", func(t *testing.T) { checkPrograms(t, first) })
	t.Run("Plugin", func(t *testing.T) { checkPlugin(t, first) })
	t.Run("Bill", func(t *testing.T) { checkBill(t, first) })
}

const (
	testVersion = "v1.2.3-rc.1"
	testCommit  = "0123456789abcdef0123456789abcdef01234567"
	testTime    = 1701388740 // 30 November in Greenwich, 1 December in Auckland
)

func build(t *testing.T, source, out string) {
	t.Helper()
	args := []string{"--source", source, "--out", out, "--version", testVersion, "--commit", testCommit, "--time", fmt.Sprint(testTime)}
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
}

// copySources copies the sources of a release, without history and earlier builds.
func copySources(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if slices.Contains([]string{"build", ".git", "integration"}, rel) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(name)
		return errors.Join(err, os.WriteFile(filepath.Join(to, rel), data, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	if one, other := names(t, a), names(t, b); !slices.Equal(one, other) {
		t.Fatalf("%q and %q", one, other)
	}
	for _, name := range names(t, a) {
		if !bytes.Equal(read(t, a, name), read(t, b, name)) {
			t.Errorf("%s is not the same", name)
		}
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func checkSums(t *testing.T, dir string) {
	want := map[string]string{}
	for line := range strings.Lines(string(read(t, dir, sumsName))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	for _, name := range names(t, dir) {
		if name != sumsName && want[name] != fmt.Sprintf("%x", sha256.Sum256(read(t, dir, name))) {
			t.Errorf("%s has the checksum %q", name, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("checksums of what is not there: %v", want)
	}
	for _, name := range []string{
		"overlayzfs_1.2.3~rc.1_amd64.deb", "overlayzfs_1.2.3~rc.1_arm64.deb", "overlayzfs_v1.2.3-rc.1_linux_amd64.tar.gz",
		"overlayzfs-plugin_v1.2.3-rc.1_linux_arm64.tar.gz", "overlayzfs-plugin_v1.2.3-rc.1_linux_arm64.oci.tar", "overlayzfs_v1.2.3-rc.1_licenses.txt", "overlayzfs_v1.2.3-rc.1_sbom.cdx.json",
	} {
		if !slices.Contains(names(t, dir), name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// unpacked returns the files of a compressed tar.
func unpacked(t *testing.T, packed []byte) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != testTime || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s is of %v, user %d %q", h.Name, h.ModTime, h.Uid, h.Uname)
		}
		if all[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// checkPrograms checks that programs are static, and that this machine's print the
// version.
func checkPrograms(t *testing.T, dir string) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		all := unpacked(t, read(t, dir, "overlayzfs_"+testVersion+"_linux_"+arch+".tar.gz"))
		for _, name := range commands {
			data := all["overlayzfs-"+testVersion+"/bin/"+name]
			checkStatic(t, name, data, machine)
			if arch == runtime.GOARCH {
				checkVersion(t, name, data)
			}
		}
		for _, name := range []string{"licenses.txt", "LICENSE", "man/overlayzfs.8", "completion/overlayzfs.bash", "dist/systemd/overlayzfs-snapshotter.service", "docs/operations.md"} {
			if len(all["overlayzfs-"+testVersion+"/"+name]) == 0 {
				t.Errorf("%s: no %s", arch, name)
			}
		}
	}
}

func checkStatic(t *testing.T, name string, data []byte, machine elf.Machine) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if f.Machine != machine {
		t.Errorf("%s is for %v", name, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s needs an interpreter", name)
		}
	}
}

func checkVersion(t *testing.T, name string, data []byte) {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(program, data, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), testVersion+" (commit "+testCommit[:12]+")") {
		t.Errorf("%s --version: %v: %s", name, err, out)
	}
}

func checkPlugin(t *testing.T, dir string) {
	for _, arch := range []string{"amd64", "arm64"} {
		all := unpacked(t, read(t, dir, "overlayzfs-plugin_"+testVersion+"_linux_"+arch+".tar.gz"))
		var config struct {
			Description string
			Entrypoint  []string
		}
		if err := json.Unmarshal(all["config.json"], &config); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(config.Description, testVersion) || !strings.Contains(config.Description, testCommit[:12]) {
			t.Errorf("the plugin says it is %q", config.Description)
		}
		if len(all["rootfs"+config.Entrypoint[0]]) == 0 || len(all) != 3 {
			t.Errorf("%s holds %d entries", arch, len(all))
		}
	}
}

// checkBill checks that the bill can be read, and names each module of the programs once.
func checkBill(t *testing.T, dir string) {
	var b cdx.BOM
	raw := read(t, dir, "overlayzfs_"+testVersion+"_sbom.cdx.json")
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), cdx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	licences := string(read(t, dir, "overlayzfs_"+testVersion+"_licenses.txt"))
	known := map[string]bool{b.Metadata.Component.BOMRef: true}
	for _, c := range *b.Components {
		if known[c.BOMRef] || c.Licenses == nil || len(*c.Licenses) == 0 {
			t.Errorf("%s is there twice, or without a licence", c.BOMRef)
		}
		known[c.BOMRef] = true
		if c.Type == cdx.ComponentTypeLibrary && !strings.Contains(licences, "\n"+c.Name+" "+c.Version+", ") {
			t.Errorf("licenses.txt has no text of %s", c.Name)
		}
	}
	uses := 0
	for _, d := range *b.Dependencies {
		for _, ref := range *d.Dependencies {
			uses++
			if !known[d.Ref] || !known[ref] {
				t.Errorf("%s uses %s, of which one is not there", d.Ref, ref)
			}
		}
	}
	if !known["overlayzfs-plugin/linux/arm64"] || uses < 100 {
		t.Errorf("%d uses", uses)
	}
}
