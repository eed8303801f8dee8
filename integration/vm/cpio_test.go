//go:build lab

package vm

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"
)

// cpio, which the lab has installed by now, is the judge of the archive.
func TestInitramfs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "initramfs")
	if err := writeInitramfs(path, []initramfsFile{{"bin/sh", []byte("12345")}, {"init", []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "zcat '"+path+"' | cpio -tv --quiet").CombinedOutput()
	if err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	for _, want := range []string{"drwxr-xr-x", "-rwxr-xr-x", " 5 ", "bin/sh", "init"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
