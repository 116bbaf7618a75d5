#!/bin/sh
# Makes the keys and certificates of the tests anew: __test__/fixtures/jwt and __test__/fixtures/mtls. Needs OpenSSL 3.
# They protect nothing, and are good from 2020 to 2120 so that no test fails on some day.
set -eu
cd "$(dirname "$0")/../__test__/fixtures"

mkdir -p jwt mtls
key() { # name, options of genpkey
  name=$1
  shift
  openssl genpkey "$@" -out "jwt/$name.key.pem" 2>/dev/null
  openssl pkey -in "jwt/$name.key.pem" -pubout -out "jwt/$name.pub.pem"
}
key rsa -algorithm RSA -pkeyopt rsa_keygen_bits:2048
key rsa-other -algorithm RSA -pkeyopt rsa_keygen_bits:2048
key rsa-1024 -algorithm RSA -pkeyopt rsa_keygen_bits:1024
key p256 -algorithm EC -pkeyopt ec_paramgen_curve:P-256
key p384 -algorithm EC -pkeyopt ec_paramgen_curve:P-384
key ed25519 -algorithm ED25519

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
touch "$work/index"
cat >"$work/ca.cnf" <<CNF
[ca]
default_ca = it
[it]
database = $work/index
new_certs_dir = $work
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
CNF
ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
sign() { # request, extensions, out, further options
  request=$1 extensions=$2 out=$3
  shift 3
  openssl ca -config "$work/ca.cnf" -batch -notext -startdate 20200101000000Z -enddate 21200101000000Z \
    -extensions "$extensions" -in "$request" -out "$out" "$@" 2>/dev/null
}
root() { # name
  ec "$work/$1.key"
  openssl req -new -key "$work/$1.key" -subj "/CN=llmpool test $1" -out "$work/$1.csr"
  sign "$work/$1.csr" root "mtls/$1.pem" -selfsign -keyfile "$work/$1.key"
}
leaf() { # name, kind, root
  ec "mtls/$1.key"
  openssl req -new -key "mtls/$1.key" -subj "/CN=$1" -out "$work/$1.csr"
  sign "$work/$1.csr" "$2" "mtls/$1.pem" -cert "mtls/$3.pem" -keyfile "$work/$3.key"
}
root authority
root stranger-authority
leaf server server authority
leaf renewed server authority
leaf client client authority
leaf stranger client stranger-authority
