// Package kerneltest tells tests what the running kernel was built without. It asks the
// kernel's configuration and not the feature, so that a feature that stopped working is not
// taken for one that is missing.
package kerneltest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"
)

// HasPermissionEvents reports whether the kernel has fanotify's permission events. A kernel
// without /proc/config.gz is a distribution's, and has them.
func HasPermissionEvents(t testing.TB) bool {
	t.Helper()
	data, err := os.ReadFile("/proc/config.gz")
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	has, err := isSet(data, "CONFIG_FANOTIFY_ACCESS_PERMISSIONS")
	if err != nil {
		t.Fatal(err)
	}
	return has
}

// isSet reports whether an option is built in.
func isSet(compressed []byte, option string) (bool, error) {
	file, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return false, err
	}
	config, err := io.ReadAll(file)
	return bytes.Contains(config, []byte("\n"+option+"=y\n")), err
}
