// CRC-32C (Castagnoli), as iSCSI, ext4 and TensorBoard use it: reflected polynomial 0x82F63B78,
// initial value and final xor 0xFFFFFFFF (RFC 3720, appendix B.4 has the test vectors).
#pragma once

#include <cstdint>
#include <string_view>

namespace trainyard {

// Continued from the checksum of the bytes before these (0: there are none).
uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace trainyard
