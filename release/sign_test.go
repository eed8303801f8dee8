package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

func TestChecksumsAreSigned(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	r := &release{out: t.TempDir(), key: filepath.Join(t.TempDir(), "key")}
	if err := errors.Join(os.WriteFile(r.key, pem.EncodeToMemory(block), 0o600), r.writeFile("a", []byte("b"))); err != nil {
		t.Fatal(err)
	}
	sums, err := r.writeSums()
	if err := errors.Join(err, r.sign(sums)); err != nil {
		t.Fatal(err)
	}
	armored, err := os.ReadFile(filepath.Join(r.out, signatureName))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := sshsig.Unarmor(armored)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{sums: true, sums + "x": false} {
		err := sshsig.Verify(bytes.NewReader([]byte(text)), signature, signer, sshsig.HashSHA512, signatureNamespace)
		if (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.WriteFile(r.key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.sign(sums); err == nil || !strings.Contains(err.Error(), r.key) {
		t.Errorf("no key: %v", err)
	}
}
