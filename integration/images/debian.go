package images

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
)

// omitted are files of Debian that the image does without, because its stages do not use them:
// more than half. vfs copies every file for each step.
var omitted = []string{
	"./usr/share/man/", "./usr/share/locale/", "./usr/share/zoneinfo/",
	"./usr/bin/perl", "./usr/bin/sqv", "./usr/lib/apt/",
	lib + "gconv/", lib + "perl-base/", lib + "libcrypto", lib + "libssl", lib + "libapt-", lib + "libdb-", lib + "libsqlite3", lib + "libstdc++",
}

const lib = "./usr/lib/x86_64-linux-gnu/"

// WriteDebian writes the image debian, with a file that has a Capability.
func WriteDebian(w io.Writer) error {
	f, err := os.Open("/lab/base/debian-base.tar")
	if err != nil {
		return err
	}
	defer f.Close()
	b, in := newTarball(w), tar.NewReader(f)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if hasAnyPrefix(header.Name, omitted) {
			continue
		}
		if err := b.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(b, in); err != nil {
			return err
		}
	}
	b.capable("tool")
	return b.finish()
}

// debianLayer returns the tar of WriteDebian, which a test process makes once.
var debianLayer = sync.OnceValues(func() ([]byte, error) {
	var raw bytes.Buffer
	err := WriteDebian(&raw)
	return raw.Bytes(), err
})

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}
