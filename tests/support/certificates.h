// A self-signed certificate for 127.0.0.1, made anew for one test: authority, server and client in
// one.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "common/require.h"

namespace trainyard {

struct TestCertificates {
  explicit TestCertificates(const std::filesystem::path& folder)
      : ca(folder / "cert.pem"), cert(ca), key(folder / "key.pem") {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(EVP_EC_gen("P-256"),
                                                                   EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> x509(X509_new(), X509_free);
    REQUIRE(pair != nullptr && x509 != nullptr);
    X509_set_version(x509.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
    X509_set_pubkey(x509.get(), pair.get());
    X509_NAME* name = X509_get_subject_name(x509.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("trainyard-test"), -1, -1, 0);
    X509_set_issuer_name(x509.get(), name);
    AddExtension(x509.get(), NID_basic_constraints, "critical,CA:TRUE");
    AddExtension(x509.get(), NID_subject_alt_name, "IP:127.0.0.1");
    REQUIRE(X509_sign(x509.get(), pair.get(), EVP_sha256()) > 0);
    FILE* file = std::fopen(cert.c_str(), "w");
    REQUIRE(file != nullptr && PEM_write_X509(file, x509.get()) == 1);
    std::fclose(file);
    file = std::fopen(key.c_str(), "w");
    REQUIRE(file != nullptr &&
            PEM_write_PrivateKey(file, pair.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
    std::fclose(file);
  }

  const std::filesystem::path ca, cert, key;

 private:
  static void AddExtension(X509* x509, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    REQUIRE(extension != nullptr);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
  }
};

}  // namespace trainyard
