package kerneltest

import (
	"bytes"
	"compress/gzip"
	"testing"
)

func TestIsSet(t *testing.T) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write([]byte("# Linux\nCONFIG_A=y\nCONFIG_AB_C=y\n# CONFIG_B is not set\nCONFIG_C=m\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]bool{"CONFIG_A": true, "CONFIG_AB": false, "CONFIG_B": false, "CONFIG_C": false} {
		if got, err := isSet(compressed.Bytes(), option); err != nil || got != want {
			t.Errorf("%s: %t, %v", option, got, err)
		}
	}
	if _, err := isSet([]byte("CONFIG_A=y"), "CONFIG_A"); err == nil {
		t.Error("a file that is not compressed was read")
	}
}
